"""How long training stands still for a checkpoint, beside DeepSpeed's own save with a blocking report; and a resume.

    python jobs/bench/checkpoint.py [--quick]

In one run of Ray Train, ranks train and save in turns: `save_checkpoint` to a folder on disk with a blocking
`ray.train.report`, then the way of this project (copied into memory, written beside training; with the student's
export and the curator's state on top). Then a second run resumes and takes its first step. `--quick`: fewer pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import torch
from ray.train import Checkpoint, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from dsa_ray.actors.checkpointing import Checkpointer
from dsa_ray.actors.commit import CHECKPOINTS, Commit, forget_ray_snapshot
from dsa_ray.config import Config, parse
from dsa_ray.machine import this_machine
from dsa_ray.storage.state import pack_state
from dsa_ray.storage.versions import versions
from dsa_ray.training.loop import run_rank

ROW_TOKENS = 128
STEPS_BETWEEN = 4
WARM_UP = 1
"""Pairs that are not counted."""
RANKS = 2
SHAPE = {"vocab_size": 4096, "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 7}
BAR = 0.25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 pairs instead of 10")
    pairs = 4 if parser.parse_args().quick else 10
    with tempfile.TemporaryDirectory(prefix="bench-checkpoint-") as folder:
        figures = measure(folder, pairs)
    bars = {"blocked_share": {"figure": figures["blocked_share"], "bar": BAR, "ok": figures["blocked_share"] <= BAR}}
    print_table(figures, bars)
    machine = this_machine()
    shown = {"cpus": machine.cpus, "memory_gib": round(machine.memory_gib, 1), "gpus": machine.gpus}
    print(
        json.dumps({"bench": "checkpoint", "figures": figures, "bars": bars, "machine": shown, "versions": versions()})
    )
    return 0


def measure(folder: str, pairs: int) -> dict[str, Any]:
    """Both runs; seconds, medians over the pairs."""
    model = write_model(folder)
    config = a_config(folder)
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    cpus = max(RANKS, int(this_machine().cpus))
    # With the dashboard, for without it Ray Train's cleaner of placement groups logs a warning every second.
    quiet = {"log_to_driver": False, "include_dashboard": True, "dashboard_host": "127.0.0.1"}
    ray.init(address="local", num_cpus=cpus, object_store_memory=256 * 2**20, **quiet)
    try:
        curator = StandIn.remote()
        saved = fit(partial(save_in_turns, pairs=pairs), config, model, curator)
        resumed = fit(resume, config, model, curator)
    finally:
        ray.shutdown()
    plain, own = saved["plain_s"][WARM_UP:], saved["own_s"][WARM_UP:]
    shares = [mine / theirs for mine, theirs in zip(own, plain, strict=True)]
    return {
        "parameters": saved["parameters"],
        "ranks": RANKS,
        "pairs": pairs,
        "plain_blocked_s": round(statistics.median(plain), 3),
        "own_blocked_s": round(statistics.median(own), 3),
        "blocked_share": round(statistics.median(shares), 3),
        "own_upload_s": round(statistics.median(saved["upload_s"][WARM_UP:]), 3),
        "step_s": round(statistics.median(saved["step_s"]), 3),
        "step_during_upload_s": round(statistics.median(saved["busy_step_s"]), 3),
        "staged": saved["staging"] or "in memory",
        **{name: round(value, 3) for name, value in resumed.items()},
    }


def save_in_turns(setup: dict[str, Any], pairs: int) -> None:
    """What each rank does: a few steps, a save of one kind, a few steps, a save of the other."""
    engine, checkpointer, train = prepare(setup)
    record: dict[str, list[float]] = {name: [] for name in ("plain_s", "own_s", "upload_s", "step_s", "busy_step_s")}
    train(2)
    for pair in range(pairs + WARM_UP):
        step = 2 * pair + 1
        record["step_s"] += train(STEPS_BETWEEN)
        record["plain_s"].append(timed(lambda step=step: plain_save(engine, step)))
        train(1)
        record["own_s"].append(timed(lambda step=step: checkpointer.save(step + 1, "exercises", 1.0)))
        began = time.perf_counter()
        record["busy_step_s"] += train(1)
        checkpointer.wait()
        record["upload_s"].append(time.perf_counter() - began)
    if ray.train.get_context().get_world_rank() == 0:
        from dsa_ray.training.staging import unfit

        parameters = sum(parameter.numel() for parameter in engine._model.parameters())
        staging = unfit(engine.saved_bytes)
        Path(setup["out"]).write_text(json.dumps({**record, "parameters": parameters, "staging": staging}))


def resume(setup: dict[str, Any]) -> None:
    """A rank that begins from the latest checkpoint."""
    began = time.perf_counter()
    _, checkpointer, train = prepare(setup)
    built = time.perf_counter()
    checkpointer.restore()
    restored = time.perf_counter()
    train(1)
    done = time.perf_counter()
    if ray.train.get_context().get_world_rank() == 0:
        facts = {"resume_build_s": built - began, "resume_restore_s": restored - built}
        facts |= {"resume_first_step_s": done - restored, "resume_in_rank_s": done - began}
        Path(setup["out"]).write_text(json.dumps({**facts, "ended": time.time()}))


def prepare(setup: dict[str, Any]) -> Any:
    """Engine, checkpointer and a function that trains some steps and gives the seconds of each."""
    from dsa_ray.engines.deepspeed_engine import DeepSpeedEngine
    from dsa_ray.training.student import load_student

    torch.set_num_threads(1)
    config = parse(setup["config"])
    model, tokenizer = load_student(setup["model"], config.train)
    engine = DeepSpeedEngine(model, config.train, world=RANKS)
    checkpointer = Checkpointer(engine, tokenizer, config, setup["run"], setup["curator"])
    count = config.train.rows_per_step
    rows = [a_row(seed) for seed in range(count)]

    def train(steps: int) -> list[float]:
        seconds: list[float] = []
        for _ in range(steps):
            began = time.perf_counter()
            run_rank(
                engine, rows[: config.train.rows_per_step], config.train.rows_per_step, lambda _: None, config.train
            )
            seconds.append(time.perf_counter() - began)
        return seconds

    return engine, checkpointer, train


def plain_save(engine: Any, step: int) -> None:
    """DeepSpeed's save to disk, then a report that returns when everything is uploaded."""
    with tempfile.TemporaryDirectory() as folder:
        engine._engine.save_checkpoint(folder, tag="shards")
        ray.train.report({"step": step}, checkpoint=Checkpoint.from_directory(folder))


def timed(act: Any) -> float:
    """Seconds that the slowest rank is kept from its next step."""
    torch.distributed.barrier()
    began = time.perf_counter()
    act()
    torch.distributed.barrier()
    return time.perf_counter() - began


def fit(loop: Any, config: Config, model: str, curator: Any) -> dict[str, Any]:
    """Run `loop` on the ranks of a trainer; what rank 0 wrote."""
    run = f"{config.run.storage}/{config.run.name}"
    out = f"{config.run.storage}/out.json"
    forget_ray_snapshot(f"{run}/{CHECKPOINTS}")
    setup = {"config": config.model_dump(mode="json"), "model": model, "run": run, "curator": curator, "out": out}
    began = time.time()
    TorchTrainer(
        loop,
        train_loop_config=setup,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=RANKS, resources_per_worker={"CPU": 0.5}),
        run_config=RunConfig(name=CHECKPOINTS, storage_path=run, callbacks=[_CommitOwn(config, run, curator)]),
    ).fit()
    found = json.loads(Path(out).read_text())
    if "ended" in found:
        found["resume_to_first_step_s"] = found.pop("ended") - began
    return found


class _CommitOwn(Commit):
    """The plain saves are not ours to commit."""

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        if "name" in metrics[0]:
            super().after_report(run_context, metrics, checkpoint)


@ray.remote(num_cpus=0)
class StandIn:
    """In place of the curator: a state of a usual size."""

    async def want_checkpoint(self, step: int) -> None: ...

    async def checkpoint(self, step: int) -> bytes:
        return pack_state({"history": np.random.default_rng(step).random(200_000), "step": step})

    async def status(self) -> dict[str, Any]:
        return {"skills": 1, "textbooks": 1, "written": 1}

    async def saved(self, facts: dict[str, Any]) -> None: ...

    async def fail(self, reason: str) -> None:
        raise RuntimeError(reason)


def write_model(folder: str) -> str:
    """A random Llama of some 25 million parameters, with the built-in student's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from dsa_ray.embedded import shipped

    path = f"{folder}/model"
    torch.manual_seed(0)
    shape = LlamaConfig(**SHAPE, num_attention_heads=8, num_key_value_heads=8, tie_word_embeddings=True)
    LlamaForCausalLM(shape).to(torch.bfloat16).save_pretrained(path)
    AutoTokenizer.from_pretrained(shipped.resolve("embedded:student")).save_pretrained(path)
    return path


def a_config(folder: str) -> Config:
    train = {"ranks": RANKS, "rows_per_step": 1, "zero_stage": 2, "row_tokens": ROW_TOKENS, "keep_checkpoints": 2}
    return parse(
        {
            "run": {"name": "bench", "storage": folder},
            "graph": {"target": "checkpoints"},
            "generate": {"max_question_tokens": ROW_TOKENS},
            "train": train,
        }
    )


def a_row(seed: int) -> dict[str, np.ndarray]:
    """A packed row of one random example."""
    ids = np.random.default_rng(seed).integers(0, SHAPE["vocab_size"], ROW_TOKENS)
    examples = ROW_TOKENS // 2
    marks = np.full(examples, -1, np.int64)
    marks[0] = 1
    return {
        "input_ids": ids,
        "position_ids": np.arange(ROW_TOKENS),
        "labels": np.where(np.arange(ROW_TOKENS) > 0, ids, -100),
        "segment": np.zeros(ROW_TOKENS, np.int64),
        "weight": np.ones(ROW_TOKENS, np.float32),
        "items": marks,
        "visits": marks,
        **{name: np.array([1], np.int64) for name in ("lease", "step", "phase")},
        "progress": np.array([0.5]),
        "denominator": np.array([float(ROW_TOKENS - 1) * RANKS]),
    }


def print_table(figures: dict[str, Any], bars: dict[str, Any]) -> None:
    for name, figure in figures.items():
        print(f"  {name:<24} {figure}")
    print("\nbars")
    for name, bar in bars.items():
        print(f"  {name:<26} {bar['figure']:>10}   bar {bar['bar']:>6}   {'ok' if bar['ok'] else 'MISSED'}")


if __name__ == "__main__":
    sys.exit(main())
