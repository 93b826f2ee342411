"""The trainer: a Ray Train `TorchTrainer` whose ranks run a DeepSpeed engine over the training stream.

each rank    consumes   its rows                     (streams.training)
             produces   losses per example           -> curator.observe, one call per step, one in flight
             waits for  the other ranks (all-reduce) and rows; both are measured
checkpoint   curator state at the end of step S, then ZeRO shards, in one folder, uploaded by Ray Train
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import torch.distributed
from ray.actor import ActorHandle
from ray.train import Checkpoint, CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from dsa_ray.config import Config, parse
from dsa_ray.curriculum.host import CURATOR_STATE
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.streams.training import configure_context, rows_of, training_stream
from dsa_ray.training.collate import from_batch
from dsa_ray.training.loop import StepReport, run_rank
from dsa_ray.training.student import load_student

REPLY_S = 60.0
"""The curator answers within this, or it is gone."""
SHARDS = "shards"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerShares:
    """What the placement plan gives the trainer."""

    rank_cpus: float
    rank_gpus: float
    reader_cpus: float
    rank_threads: int


@ray.remote(num_cpus=0, max_restarts=0)
class TrainerActor:
    """Runs `fit` away from the driver: a driver that is interrupted ends it by ending this actor."""

    def fit(self, config: dict[str, Any], run: str, student_path: str, curator: ActorHandle, shares: Any) -> None:
        fit(parse(config), RunFolder.open(run), student_path, curator, shares)


def fit(
    config: Config, run: RunFolder, student_path: str, curator: ActorHandle, shares: TrainerShares
) -> ray.train.Result:
    """Train until the curator's steps are over; returns when the student is exported. Blocks.

    Args:
        run: the run's folder.
        student_path: folder or name of the base student.

    Raises:
        ray.train.TrainingFailedError: after `train.max_failures` restarts.
    """
    configure_context()
    readers = {
        f"rows_{rank}": training_stream(curator, rank, run.journal, config, shares.reader_cpus)
        for rank in range(config.train.ranks)
    }
    trainer = TorchTrainer(
        _train_rank,
        train_loop_config={
            "config": config.model_dump(mode="json"),
            "curator": curator,
            "student": student_path,
            "export": run.student,
            "threads": shares.rank_threads,
        },
        torch_config=TorchConfig(backend="nccl" if shares.rank_gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=config.train.ranks,
            use_gpu=shares.rank_gpus > 0,
            resources_per_worker={"CPU": shares.rank_cpus} | ({"GPU": shares.rank_gpus} if shares.rank_gpus else {}),
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=run.path,
            failure_config=FailureConfig(max_failures=config.train.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=config.train.keep_checkpoints),
        ),
        datasets=readers,
        dataset_config=DataConfig(datasets_to_split=[]),
    )
    return trainer.fit()


def _train_rank(setup: dict[str, Any]) -> None:
    """What one rank does, from the model to the export."""
    from dsa_ray.engines.deepspeed_engine import DeepSpeedEngine

    torch.set_num_threads(setup["threads"])
    config = parse(setup["config"])
    rank = ray.train.get_context().get_world_rank()
    model, tokenizer = load_student(setup["student"], config.train)
    engine = DeepSpeedEngine(model, config.train, world=ray.train.get_context().get_world_size())
    attempt = _begin(engine, setup["curator"], rank)
    reporter = _Reporter(engine, setup["curator"], config, rank, attempt)
    rows = map(from_batch, rows_of(ray.train.get_dataset_shard(f"rows_{rank}")))
    run_rank(engine, rows, config.train.rows_per_step, reporter, config.train)
    reporter.finish()
    engine.export_hf(setup["export"], tokenizer, merged=True)
    if config.train.lora_rank:
        engine.export_hf(f"{setup['export']}/adapter", tokenizer)


def _begin(engine: Any, curator: ActorHandle, rank: int) -> int:
    """Load the newest checkpoint, if any, and open an attempt at the curator. All ranks learn its number."""
    checkpoint = ray.train.get_checkpoint()
    state = None
    if checkpoint:
        with checkpoint.as_directory() as folder:
            engine.load(folder, SHARDS)
            if rank == 0:
                state = (Path(folder) / CURATOR_STATE).read_bytes()
    attempt = torch.zeros(1, dtype=torch.int64)
    if rank == 0:
        attempt[0] = ray.get(curator.begin_attempt.remote(state), timeout=REPLY_S)
    if torch.cuda.is_available():
        attempt = attempt.cuda()
    torch.distributed.broadcast(attempt, src=0)
    return int(attempt[0])


class _Reporter:
    """Called after every step: sends the losses, and saves a checkpoint when one is due."""

    def __init__(self, engine: Any, curator: ActorHandle, config: Config, rank: int, attempt: int) -> None:
        self._engine = engine
        self._curator = curator
        self._every = config.train.checkpoint_every
        self._rank = rank
        self._attempt = attempt
        self._sent: ray.ObjectRef | None = None
        self._last: StepReport | None = None
        self._saved_step = -1

    def __call__(self, step: StepReport) -> None:
        self._settle()
        report = {
            "rank": self._rank,
            "attempt": self._attempt,
            "leases": step.leases,
            **{name: getattr(step, name) for name in _REPORTED},
        }
        self._sent = self._curator.observe.remote(report, step.ids, step.losses)
        self._last = step
        if step.step % self._every == 0:
            self._save(step)

    def finish(self) -> None:
        """The stream is over: everything is observed, and the last step is saved."""
        self._settle()
        if self._last is not None and self._saved_step != self._last.step:
            self._save(self._last)

    def _settle(self) -> None:
        if self._sent is not None:
            ray.get(self._sent, timeout=REPLY_S)
            self._sent = None

    def _save(self, step: StepReport) -> None:
        """Every rank has reported `step` before any of them enters the collective save, so the states agree."""
        self._settle()
        torch.distributed.barrier()
        with tempfile.TemporaryDirectory() as folder:
            if self._rank == 0:
                state = ray.get(self._curator.checkpoint.remote(step.step), timeout=REPLY_S)
                (Path(folder) / CURATOR_STATE).write_bytes(state)
            self._engine.save(folder, SHARDS)
            ray.train.report({"step": step.step, "loss": step.loss}, checkpoint=Checkpoint.from_directory(folder))
        self._saved_step = step.step


_REPORTED = ("step", "phase", "lr", "loss", "grad_norm", "tokens", "loss_tokens", "wait_s", "step_s")
