"""One rank of the trainer: model, engine, checkpoints, and the reports of its steps.

consumes     its rows                     (streams.training)
produces     losses per example           -> curator.observe, one call per step, one in flight
waits for    the other ranks (all-reduce) and rows; both are measured
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
import ray.train
import torch
import torch.distributed
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError

from dsa_ray.actors import patient
from dsa_ray.actors.checkpointing import REPLY_S, Checkpointer
from dsa_ray.actors.publishing import Publisher
from dsa_ray.actors.whereabouts import note_process
from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.storage.checkpoints import STUDENT, CheckpointError
from dsa_ray.streams.training import rows_of
from dsa_ray.training.collate import from_batch
from dsa_ray.training.flops import peak_tokens_per_s
from dsa_ray.training.isolation import IsolationError
from dsa_ray.training.loop import NonFiniteLoss, StepContractError, StepReport, run_rank
from dsa_ray.training.student import load_student
from dsa_ray.training.student_check import StudentError

LASTING = (CheckpointError, ConfigError, IsolationError, NonFiniteLoss, StepContractError, StudentError)
"""What no restart of the ranks can mend: it ends the run at once."""


def train_rank(setup: dict[str, Any]) -> None:
    """What one rank does, from the model to the export.

    Args:
        setup: `config`, `curator`, `student`, `run` and `threads`, as `trainer.fit` gives them.
    """
    try:
        _train(setup)
    except LASTING as error:
        patient.once_more(setup["curator"], "fail", str(error), within_s=REPLY_S)
        raise


def _train(setup: dict[str, Any]) -> None:
    from dsa_ray.engines.deepspeed_engine import DeepSpeedEngine

    torch.set_num_threads(setup["threads"])
    config, curator = parse(setup["config"]), setup["curator"]
    rank = ray.train.get_context().get_world_rank()
    note_process(f"rank-{rank}")
    model, tokenizer = load_student(setup["student"], config.train)
    peak = peak_tokens_per_s(model, config.train, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    engine = DeepSpeedEngine(model, config.train, world=ray.train.get_context().get_world_size())
    checkpointer = Checkpointer(engine, tokenizer, config, setup["run"], curator)
    attempt = _begin_attempt(curator, checkpointer.restore(), rank, config.watch.stall_s)
    publisher = Publisher(engine, tokenizer, setup["run"], curator)
    told = {"rank": rank, "attempt": attempt, "peak_tokens_per_s": peak}
    reporter = _Reporter((checkpointer, publisher), curator, config, told)
    rows = map(from_batch, rows_of(ray.train.get_dataset_shard(f"rows_{rank}")))
    run_rank(engine, rows, config.train.rows_per_step, reporter, config.train)
    reporter.finish()
    checkpointer.export(merged=True)
    if config.train.lora_rank:
        checkpointer.export(merged=False, name=f"{STUDENT}/adapter")


def _begin_attempt(curator: ActorHandle, state: bytes | None, rank: int, patience_s: float) -> int:
    """Open an attempt at the curator, from the state of a checkpoint if any. All ranks learn its number."""
    attempt = torch.zeros(1, dtype=torch.int64)
    if rank == 0:
        ranks = torch.distributed.get_world_size()
        attempt[0] = patient.call(curator, "begin_attempt", state, ranks, within_s=patience_s, call_s=REPLY_S)
    if torch.cuda.is_available():
        attempt = attempt.cuda()
    torch.distributed.broadcast(attempt, src=0)
    return int(attempt[0])


class _Reporter:
    """Called after every step: sends the losses, saves a checkpoint and publishes the student when that is due."""

    def __init__(
        self, saving: tuple[Checkpointer, Publisher], curator: ActorHandle, config: Config, told: Mapping[str, Any]
    ) -> None:
        """
        Args:
            told: goes with every report.
        """
        self._checkpointer, self._publisher = saving
        self._curator = curator
        self._every, self._publish_every = config.train.checkpoint_every, config.train.publish_every
        self._told = told
        self._sent: tuple[ray.ObjectRef, tuple[Any, ...]] | None = None
        self._last = self._saved = -1
        self._losses = LossMean()

    def __call__(self, step: StepReport) -> None:
        self._settle()
        report = {
            **self._told,
            "leases": step.leases,
            **{name: getattr(step, name) for name in _REPORTED},
        }
        told = report, step.ids, step.losses
        self._sent = self._curator.observe.remote(*told), told
        self._last = step.step
        self._losses.add(step)
        if step.step % self._every == 0:
            self._save()
        if self._publish_every and step.step % self._publish_every == 0:
            self._publisher.publish(step.step)

    def finish(self) -> None:
        """The stream is over: everything is observed, and the last step is saved and uploaded."""
        self._settle()
        if self._saved != self._last:
            self._save()
        self._checkpointer.wait()
        self._publisher.wait()

    def _settle(self) -> None:
        """A report that was lost, or its answer, is sent once more; a curator that ended does not answer that one."""
        if self._sent is None:
            return
        (call, told), self._sent = self._sent, None
        try:
            ray.get(call, timeout=REPLY_S)
        except ActorUnavailableError:
            ray.get(self._curator.observe.remote(*told), timeout=REPLY_S)

    def _save(self) -> None:
        self._checkpointer.save(self._last, self._losses.phase, self._losses.over_ranks())
        self._saved = self._last
        self._losses.reset()


class LossMean:
    """Mean loss per token of the steps since the last `reset`; only of the phase that the last one belongs to."""

    def __init__(self) -> None:
        self.phase = ""
        self.reset()

    def reset(self) -> None:
        self._sum = self._tokens = 0.0

    def add(self, step: StepReport) -> None:
        if step.phase != self.phase:
            self.phase = step.phase
            self.reset()
        self._sum += step.loss * step.loss_tokens
        self._tokens += step.loss_tokens

    def over_ranks(self) -> float | None:
        """Of all ranks together, nats; collective. None where nothing had a loss."""
        sums = torch.tensor([self._sum, self._tokens], dtype=torch.float64)
        if torch.cuda.is_available():
            sums = sums.cuda()
        torch.distributed.all_reduce(sums)
        total, tokens = sums.tolist()
        return total / tokens if tokens else None


_REPORTED = ("step", "phase", "lr", "loss", "grad_norm", "tokens", "loss_tokens", "wait_s", "step_s")
