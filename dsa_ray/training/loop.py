"""The training loop of one rank: rows in, steps out.

    rows (iterable of `collate.Row`) -> groups of `rows_per_step` -> Engine -> StepReport per step

The loop knows no engine: `TorchEngine` is the plain reference, `DeepSpeedEngine` the distributed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from dsa_ray.sections import TrainConfig
from dsa_ray.training.collate import NO_LOSS, PHASES, example_ids, example_visits
from dsa_ray.training.schedule import learning_rate

RowArrays = Mapping[str, np.ndarray]


class NonFiniteLoss(Exception):
    """A loss or gradient is NaN or infinite: the run cannot go on from here."""


class StepContractError(Exception):
    """The rows of a step do not belong together."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """What one packed row showed: one entry per example, in row order."""

    losses: np.ndarray
    """float64[I]: mean nll in nats over the example's loss tokens; nan where it has none."""
    tokens: np.ndarray
    """int64[I]: loss tokens."""


@dataclass(frozen=True, slots=True)
class StepResult:
    grad_norm: float
    """2-norm of the step's gradient over all ranks, before clipping."""


class Engine(Protocol):
    """Holds model and optimizer of one rank."""

    def train_row(self, row: RowArrays, *, last: bool) -> RowResult:
        """One forward and backward; gradients add up until `step`. `last` marks the last row of the step."""

    def step(self, lr: float) -> StepResult:
        """Update the weights with the summed gradient, and forget it."""

    def save(self, folder: str, tag: str) -> None:
        """Write weights and optimizer state under folder/tag; all ranks call it."""

    def load(self, folder: str, tag: str | None = None) -> None:
        """Restore what `save` wrote, bit for bit; without a tag the latest."""

    def export_hf(self, folder: str, tokenizer: PreTrainedTokenizerBase | None = None, *, merged: bool = False) -> None:
        """Write the student in Hugging Face format; all ranks call it. LoRA: its adapter, or `merged` a full model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimizer step as one rank saw it. Examples are those with loss tokens, all rows of the step together."""

    step: int
    phase: str
    lr: float
    loss: float
    """Weighted token mean over this rank's rows, nats; 0 when every weight is 0."""
    grad_norm: float
    tokens: int
    """Tokens of examples in the rows, without padding."""
    loss_tokens: int
    wait_s: float
    """Time spent waiting for rows."""
    step_s: float
    """Time spent in the engine."""
    leases: tuple[int, ...]
    ids: np.ndarray
    """int64[N]: exercise of each example; an exercise may come more than once."""
    visits: np.ndarray
    """int64[N]."""
    losses: np.ndarray
    """float64[N]: mean nll over the example's loss tokens, nats; not finite where the example was skipped."""
    tokens_per_example: np.ndarray
    """int64[N]: loss tokens of each example."""


def run_rank(
    engine: Engine,
    rows: Iterable[RowArrays],
    rows_per_step: int,
    report: Callable[[StepReport], None],
    config: TrainConfig,
) -> int:
    """Train on `rows` until they end; gives the number of steps taken.

    `report` is called after every step and may save a checkpoint; its time counts neither as waiting nor as step.

    Raises:
        NonFiniteLoss: names the step and the exercises.
        StepContractError: the rows of a step differ in step or phase, or end in the middle of one.
    """
    steps = 0
    stream = iter(rows)
    while True:
        started = time.perf_counter()
        batch = list(islice(stream, rows_per_step))
        wait_s = time.perf_counter() - started
        if not batch:
            return steps
        report(_train_step(engine, _checked(batch, rows_per_step), wait_s, config))
        steps += 1


def _train_step(engine: Engine, batch: Sequence[RowArrays], wait_s: float, config: TrainConfig) -> StepReport:
    phase = PHASES[int(batch[0]["phase"][0])]
    lr = learning_rate(config, phase, float(batch[0]["progress"][0]))
    started = time.perf_counter()
    results = [engine.train_row(row, last=row is batch[-1]) for row in batch]
    grad_norm = engine.step(lr).grad_norm
    step_s = time.perf_counter() - started

    ids = np.concatenate([example_ids(row) for row in batch])
    losses = np.concatenate([result.losses for result in results])
    tokens = np.concatenate([result.tokens for result in results])
    seen = tokens > 0
    step = int(batch[0]["step"][0])
    # Checked after the step: by then its collectives have run, so every rank raises instead of waiting for one.
    _check_finite(step, ids[seen], losses[seen], grad_norm, config)
    return StepReport(
        step=step,
        phase=phase,
        lr=lr,
        loss=_weighted_mean(batch, results),
        grad_norm=grad_norm,
        tokens=sum(int((row["segment"] >= 0).sum()) for row in batch),
        loss_tokens=int(tokens.sum()),
        wait_s=wait_s,
        step_s=step_s,
        leases=tuple(int(row["lease"][0]) for row in batch),
        ids=ids[seen],
        visits=np.concatenate([example_visits(row) for row in batch])[seen],
        losses=losses[seen],
        tokens_per_example=tokens[seen],
    )


def _checked(batch: Sequence[RowArrays], rows_per_step: int) -> Sequence[RowArrays]:
    leases = [int(row["lease"][0]) for row in batch]
    keys = {(int(row["step"][0]), int(row["phase"][0]), float(row["denominator"][0])) for row in batch}
    if len(keys) > 1:
        raise StepContractError(f"leases {leases} of one step differ in (step, phase, denominator): {sorted(keys)}")
    if not any((row["labels"] != NO_LOSS).any() for row in batch):
        raise StepContractError(
            f"step {min(keys)[0]}: leases {leases} hold no token that carries loss; nothing to learn"
        )
    if len(batch) < rows_per_step:
        raise StepContractError(
            f"rows ended inside step {next(iter(keys))[0]}: leases {leases} of {rows_per_step} rows"
        )
    return batch


def _check_finite(step: int, ids: np.ndarray, losses: np.ndarray, grad_norm: float, config: TrainConfig) -> None:
    bad = ids[~np.isfinite(losses)]
    if len(bad) and config.non_finite == "stop":
        raise NonFiniteLoss(f"step {step}: the loss of exercises {sorted(set(bad.tolist()))} is not finite")
    # fp16 overflows now and then: DeepSpeed skips that step and lowers its loss scale.
    if not math.isfinite(grad_norm) and config.precision != "fp16":
        raise NonFiniteLoss(f"step {step}: the gradient is not finite; this rank trained {sorted(set(ids.tolist()))}")


def _weighted_mean(batch: Sequence[RowArrays], results: Sequence[RowResult]) -> float:
    total = weights = 0.0
    for row, result in zip(batch, results, strict=True):
        for index, tokens, loss in _with_loss(result):
            if not math.isfinite(loss):  # it was skipped
                continue
            weight = float(row["weight"][np.argmax(row["segment"] == index)]) * tokens
            total += weight * loss
            weights += weight
    return total / weights if weights else 0.0


def _with_loss(result: RowResult) -> Iterator[tuple[int, int, float]]:
    for index, (tokens, loss) in enumerate(zip(result.tokens.tolist(), result.losses.tolist(), strict=True)):
        if tokens:
            yield index, tokens, loss
