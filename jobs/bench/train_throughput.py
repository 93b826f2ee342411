"""Training throughput: our trainer with loss statistics against a plain DeepSpeed loop and against TRL.

    python jobs/bench/train_throughput.py [--quick] [--text PATH] [--only cpu|gpu] [--shapes ...] [--parts ...]
        [--stages ...]

Trained non-pad tokens per second, blocks of all in turn inside one process, medians over the pairs. `stream` is our
trainer with everything on: rows tokenised and packed by a process of their own, losses per example, the loop's
reports; `silent` leaves losses and reports out, so the difference is what they cost. `stream` is held against the
faster of two plain loops over tensors in memory (`bare`: the same forward; `plain`:
as transformers runs the model) and against TRL's SFTTrainer with packing. Neither Ray nor vLLM is imported; without
DeepSpeed both sides are plain torch, and the output says so.

`--text` takes GSM8K's JSONL (file or folder); without it the text is made by the built-in writers. `--quick` measures
ZeRO 2 at about 3M parameters with one and with two ranks, TRL, and the stream.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from _train_arms import HAS_DEEPSPEED, SHAPES
from _train_pairs import BARE, PLAIN, SILENT, STREAM, TRL, Comparison, Measured, compare
from _train_text import Feed, Text, load_texts, make_tokenizer, rows
from _train_trl import MISSING

from dsa_ray.machine import this_machine
from dsa_ray.sections import TrainConfig
from dsa_ray.training.flops import peak_flops, training_flops

# Per shape: steps of a block, pairs. A block lasts some seconds.
BLOCKS = {"3M": (16, 7), "20M": (5, 7), "130M": (1, 9)}
QUICK_PAIRS = 5
STAGES = (1, 2, 3)
PARTS = ("loops", "memory", "trl", "stream")
GPU_ROW = 8192
GPU_BLOCKS = (8, 5)
STREAM_TOKENS = 300_000
PRIME_RL = 26_000.0
"""Tokens per second that prime-rl publishes for Qwen3-0.6B on one H100."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a subset, within five minutes on two cores")
    parser.add_argument("--text", metavar="PATH", help="GSM8K's JSONL: a file or a folder")
    parser.add_argument("--only", choices=("cpu", "gpu"), help="one section")
    parser.add_argument("--shapes", nargs="+", choices=tuple(BLOCKS), help="of the CPU section; default all")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="of the CPU section; default all")
    parser.add_argument("--stages", nargs="+", type=int, choices=STAGES, help="of ZeRO, of the loops; default all")
    wanted = parser.parse_args()
    quieten()
    texts = load_texts(wanted.text)
    book = Book()
    with tempfile.TemporaryDirectory(prefix="bench-train-") as folder:
        tokenizer = make_tokenizer(texts, 4096, folder)
        if wanted.only != "gpu":
            shapes, parts = wanted.shapes or list(BLOCKS), wanted.parts or PARTS
            stages = wanted.stages or ((2,) if wanted.quick else STAGES)
            measure_cpu(book, texts, tokenizer, shapes, parts, stages, quick=wanted.quick)
        if wanted.only != "cpu":
            measure_gpu(book, texts, tokenizer)
    book.print(wanted.text or "made by the built-in writers")
    return 0


def quieten() -> None:
    """Nothing but the table and the last line belongs on standard output; warnings of others are no findings."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")


class Book:
    """Figures, bars and what was left out, as they come."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.bars: dict[str, dict[str, Any]] = {}
        self.skipped: dict[str, str] = {}

    def bar(self, name: str, figure: float, bar: float, *, at_most: bool = False) -> None:
        met = figure <= bar if at_most else figure >= bar
        self.bars[name] = {"figure": round(figure, 4), "bar": bar, "ok": bool(met)}

    def note(self, name: str, measured: Measured) -> None:
        figures = {f"{arm}_tokens_per_s": round(measured.median(arm), 1) for arm in measured.speeds}
        for arm in measured.speeds:
            if arm != STREAM and STREAM in measured.speeds:
                figures[f"over_{arm}"] = round(measured.ratio(arm), 4)
        self.figures[name] = figures | {"peak_gib": round(measured.peak_gib, 3), "parameters": measured.parameters}
        print(f"  {name:<28} " + "  ".join(f"{key} {value:,}" for key, value in self.figures[name].items()), flush=True)

    def print(self, text: str) -> None:
        print("\nbars")
        for name, bar in self.bars.items():
            print(f"  {name:<34} {bar['figure']:>12,}   bar {bar['bar']:>8,}   {'ok' if bar['ok'] else 'MISSED'}")
        for name, reason in self.skipped.items():
            print(f"  {name:<34} skipped: {reason}")
        machine = this_machine()
        facts: dict[str, Any] = {"cpus": machine.cpus, "memory_gib": round(machine.memory_gib, 1)}
        if torch.cuda.is_available():
            facts["gpu"] = torch.cuda.get_device_name()
        result = {
            "bench": "train_throughput",
            "figures": self.figures | {"engine": engine_name(), "text": text},
            "bars": self.bars,
            "skipped": self.skipped,
            "machine": facts,
            "versions": dict(versions()),
        }
        print(json.dumps(result))


def engine_name() -> str:
    return "deepspeed" if HAS_DEEPSPEED else "torch (DeepSpeed is not installed: both sides are plain torch)"


def versions() -> Iterator[tuple[str, str]]:
    for name in ("torch", "transformers", "deepspeed", "trl"):
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


# ---------------------------------------------------------------------------------------------------------- CPU


def measure_cpu(
    book: Book,
    texts: tuple[Text, ...],
    tokenizer: str,
    shapes: Sequence[str],
    parts: Sequence[str],
    stages: Sequence[int],
    *,
    quick: bool,
) -> None:
    print(f"CPU, rows of 512 tokens, bf16, engine: {engine_name()}", flush=True)
    shapes = ["3M"] if quick else shapes
    stages = stages if HAS_DEEPSPEED else (0,)
    for shape in shapes:
        for stage in stages if "loops" in parts else ():
            for ranks in (1, 2) if HAS_DEEPSPEED else (1,):
                _against_loops(book, _comparison(texts, tokenizer, shape, _config(stage, ranks), quick=quick))
        if "memory" in parts and not quick:
            _memory(book, texts, tokenizer, shape, stages[0])
        if "trl" in parts:
            config = _config(2 if HAS_DEEPSPEED else 0, 1)
            _against_trl(book, _comparison(texts, tokenizer, shape, config, quick=quick))
    if not HAS_DEEPSPEED:
        book.skipped["two ranks"] = "DeepSpeed is not installed"
    if quick:
        book.skipped["20M, 130M, ZeRO 1 and 3"] = book.skipped["peak memory by process"] = "--quick"
    if "stream" in parts and "3M" in shapes:
        _stream(book, texts, tokenizer)


def _config(stage: int, ranks: int, row_tokens: int = 512, rows_per_step: int = 2) -> TrainConfig:
    return TrainConfig(zero_stage=stage, ranks=ranks, row_tokens=row_tokens, rows_per_step=rows_per_step)


def _comparison(texts: tuple[Text, ...], tokenizer: str, shape: str, config: TrainConfig, **more: Any) -> Comparison:
    steps, pairs = BLOCKS[shape]
    if more.pop("quick", False):
        pairs = min(pairs, QUICK_PAIRS)
    fields = {"steps": steps, "pairs": pairs} | more
    return Comparison(shape=shape, config=config, texts=texts, tokenizer=tokenizer, **fields)


def _against_loops(book: Book, comparison: Comparison) -> None:
    shape, ranks = comparison.shape, comparison.world
    arms = (STREAM, BARE, PLAIN, *((SILENT,) if ranks == 1 else ()))
    measured = compare(replace(comparison, arms=arms))
    name = f"{shape}, ZeRO {comparison.config.zero_stage}, {ranks} rank{'s' if ranks > 1 else ''}"
    book.note(name, measured)
    bar = 0.90 if ranks > 1 and shape == "3M" else 0.95
    book.bar(f"over the plain loop: {name}", min(measured.ratio(BARE), measured.ratio(PLAIN)), bar)
    if ranks == 1:
        _statistics(book, name, measured)


def _statistics(book: Book, name: str, measured: Measured) -> None:
    """What the loss statistics cost: the slow-down against the same trainer without them."""
    book.bar(f"statistics' cost: {name}", 1.0 - measured.ratio(SILENT), 0.02, at_most=True)
    book.figures[f"losses per example by themselves: {name}"] = round(measured.step_share, 5)


def _memory(book: Book, texts: tuple[Text, ...], tokenizer: str, shape: str, stage: int) -> None:
    """Peak memory of each in a process of its own."""
    peaks = {}
    for arm in (STREAM, BARE, PLAIN, *(() if MISSING else (TRL,))):
        alone = _comparison(texts[:500], tokenizer, shape, _config(stage, 1), arms=(arm,), pairs=1, steps=2)
        peaks[arm] = round(compare(alone).peak_gib, 3)
    book.figures[f"{shape}, peak GiB of a process"] = peaks
    print(f"  {shape}: peak GiB of a process of its own: {peaks}", flush=True)


def _against_trl(book: Book, comparison: Comparison) -> None:
    name = f"over TRL: {comparison.shape}, 1 rank"
    if MISSING:
        book.skipped[name] = f"not installed: {', '.join(MISSING)}"
        return
    measured = compare(replace(comparison, arms=(STREAM, TRL)))
    book.note(f"{comparison.shape}, 1 rank, with TRL", measured)
    book.bar(name, measured.ratio(TRL), 1.1)


def _stream(book: Book, texts: tuple[Text, ...], tokenizer: str) -> None:
    """Tokenise, pack and split for two ranks, in one process, against what the 3M model trains."""
    feed = Feed(texts=texts, tokenizer=tokenizer, row_tokens=512, rows_per_step=2, rank=0, ranks=2)
    stream = rows(feed)
    next(stream)
    tokens, started = 0, time.perf_counter()
    while tokens < STREAM_TOKENS:
        tokens += 2 * int((next(stream)["segment"] >= 0).sum())  # the other rank's rows are packed alike
    speed = tokens / (time.perf_counter() - started)
    book.figures["stream alone, tokens_per_s"] = round(speed, 1)
    trained = [figure[f"{STREAM}_tokens_per_s"] for name, figure in book.figures.items() if name.startswith("3M, ZeRO")]
    if not trained:
        book.skipped["the stream over 3M training"] = "needs the loops of 3M"
        return
    book.bar("the stream over 3M training", speed / max(trained), 20.0)


# ---------------------------------------------------------------------------------------------------------- GPU


def measure_gpu(book: Book, texts: tuple[Text, ...], tokenizer: str) -> None:
    """Qwen3-0.6B's shape, random weights, loss on every token, one row of 8,192 per step."""
    if not torch.cuda.is_available():
        book.skipped["GPU: Qwen3-0.6B shape at 8,192 tokens"] = "no GPU"
        return
    print(f"GPU {torch.cuda.get_device_name()}, rows of {GPU_ROW} tokens, bf16, engine: {engine_name()}", flush=True)
    _gpu_against_loops(book, texts, tokenizer)
    _gpu_compiled(book, texts, tokenizer)
    if MISSING:
        book.skipped["GPU: over TRL"] = f"not installed: {', '.join(MISSING)}"
        return
    _gpu_against_trl(book, texts, tokenizer)


def _gpu_comparison(texts: tuple[Text, ...], tokenizer: str, arms: tuple[str, ...], **train: Any) -> Comparison:
    stage, (steps, pairs) = (1 if HAS_DEEPSPEED else 0), GPU_BLOCKS
    config = TrainConfig(zero_stage=stage, row_tokens=GPU_ROW, rows_per_step=1, **train)
    return Comparison(
        shape="qwen3-0.6b",
        config=config,
        texts=texts,
        tokenizer=tokenizer,
        pairs=pairs,
        steps=steps,
        arms=arms,
        device="cuda",
        all_tokens=True,
    )


def _gpu_against_loops(book: Book, texts: tuple[Text, ...], tokenizer: str) -> None:
    measured = compare(_gpu_comparison(texts, tokenizer, (STREAM, BARE, PLAIN, SILENT)))
    book.note("GPU, ZeRO 1, 1 rank" if HAS_DEEPSPEED else "GPU, 1 rank", measured)
    book.bar("GPU: tokens/s", measured.median(STREAM), PRIME_RL)
    book.bar("GPU: over the plain loop", min(measured.ratio(BARE), measured.ratio(PLAIN)), 0.95)
    _statistics(book, "GPU", measured)
    book.figures["GPU, MFU"] = _mfu(measured.median(STREAM), texts, tokenizer)
    print(f"  GPU, MFU {book.figures['GPU, MFU']}", flush=True)


def _gpu_compiled(book: Book, texts: tuple[Text, ...], tokenizer: str) -> None:
    measured = compare(_gpu_comparison(texts, tokenizer, (STREAM,), compile=True))
    book.note("GPU, compiled layers", measured)
    book.figures["GPU, MFU, compiled layers"] = _mfu(measured.median(STREAM), texts, tokenizer)


def _gpu_against_trl(book: Book, texts: tuple[Text, ...], tokenizer: str) -> None:
    measured = compare(_gpu_comparison(texts, tokenizer, (STREAM, TRL)))
    book.note("GPU, with TRL", measured)
    book.bar("GPU: over TRL", measured.ratio(TRL), 1.1)


def _mfu(speed: float, texts: tuple[Text, ...], tokenizer: str) -> float | None:
    """Share of the card's dense bf16 peak; None where that is not known."""
    peak = peak_flops(torch.device("cuda"))
    if peak is None:
        return None
    feed = Feed(texts=texts, tokenizer=tokenizer, row_tokens=GPU_ROW, rows_per_step=1, all_tokens=True)
    row = next(iter(rows(feed, 1)))
    lengths = [int((row["segment"] == index).sum()) for index in range(int(row["segment"].max()) + 1)]
    with torch.device("meta"):
        model = SHAPES["qwen3-0.6b"]()
    return round(training_flops(model, model.config, lengths) / sum(lengths) * speed / peak, 4)


if __name__ == "__main__":
    sys.exit(main())
