import math
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from dsa_ray.sections import TrainConfig
from dsa_ray.training.collate import Row
from dsa_ray.training.loop import NonFiniteLoss, RowResult, StepContractError, StepReport, StepResult, run_rank
from tests.training.builders import random_row, random_steps

CONFIG = TrainConfig(learning_rate=1.0, warmup=0.0, final_lr_share=1.0)


class ScriptedEngine:
    """Gives every example the loss 1, 2, 3, ... in row order, and notes what it was asked."""

    def __init__(self, loss: float | None = None, grad_norm: float = 1.0) -> None:
        self.calls: list[object] = []
        self._loss, self._grad_norm = loss, grad_norm

    def train_row(self, row: Mapping[str, np.ndarray], *, last: bool) -> RowResult:
        self.calls.append(last)
        count = int(row["segment"].max()) + 1
        losses = np.arange(1.0, count + 1) if self._loss is None else np.full(count, self._loss)
        tokens = [int(((row["segment"] == i) & (row["labels"] >= 0)).sum()) for i in range(count)]
        return RowResult(losses, np.array(tokens))

    def step(self, lr: float) -> StepResult:
        self.calls.append(("step", lr))
        return StepResult(grad_norm=self._grad_norm)

    def save(self, folder: str, tag: str) -> None:
        raise NotImplementedError

    def load(self, folder: str, tag: str | None = None) -> None:
        raise NotImplementedError


def test_a_step_without_any_token_that_carries_loss_is_refused() -> None:
    row = random_row(step=5, lease=9)
    row["labels"][:] = -100
    engine = ScriptedEngine()
    with pytest.raises(StepContractError, match=r"step 5: leases \[9\] hold no token that carries loss"):
        run(engine, [row], 1)
    assert engine.calls == []


def run(engine: ScriptedEngine, rows: Iterator[Row] | list[Row], rows_per_step: int) -> list[StepReport]:
    reports: list[StepReport] = []
    assert run_rank(engine, rows, rows_per_step, reports.append, CONFIG) == len(reports)
    return reports


def test_rows_become_steps_and_each_is_reported_once() -> None:
    rows = [row for step in random_steps(3, 2) for row in step]
    engine = ScriptedEngine()
    reports = run(engine, rows, 2)
    assert [report.step for report in reports] == [1, 2, 3]
    assert engine.calls == [False, True, ("step", 1.0)] * 3
    assert [report.leases for report in reports] == [(2, 3), (4, 5), (6, 7)]
    first = reports[0]
    assert first.ids.tolist() == [100, 101, 102] * 2
    assert first.losses.tolist() == [1.0, 2.0, 3.0] * 2
    assert first.visits.tolist() == [1] * 6
    assert first.tokens == sum(int((row["segment"] >= 0).sum()) for row in rows[:2])
    assert first.loss_tokens == first.tokens_per_example.sum() == sum((row["labels"] >= 0).sum() for row in rows[:2])
    assert first.phase == "exercises"


def test_the_step_loss_is_the_weighted_token_mean() -> None:
    row = random_row((6, 9))
    row["weight"][row["segment"] == 1] = 0.5
    (report,) = run(ScriptedEngine(), [row], 1)
    assert report.loss == pytest.approx((4 * 1.0 + 0.5 * 6 * 2.0) / (4 + 0.5 * 6))


def test_a_step_of_probes_only_has_loss_zero() -> None:
    row = random_row((6, 9))
    row["weight"][:] = 0.0
    (report,) = run(ScriptedEngine(), [row], 1)
    assert report.loss == 0.0
    assert report.losses.tolist() == [1.0, 2.0]


def test_a_loss_that_is_not_a_number_names_the_step_and_the_exercises() -> None:
    with pytest.raises(NonFiniteLoss, match=r"step 4: the loss of exercises \[100, 101\]"):
        run(ScriptedEngine(loss=math.nan), [random_row((5, 6), step=4)], 1)


def test_with_skip_a_loss_that_is_not_a_number_is_reported_and_not_averaged() -> None:
    class OneBad(ScriptedEngine):
        def train_row(self, row: Mapping[str, np.ndarray], *, last: bool) -> RowResult:
            result = super().train_row(row, last=last)
            result.losses[0] = math.inf
            return result

    reports: list[StepReport] = []
    skipping = CONFIG.model_copy(update={"non_finite": "skip"})
    run_rank(OneBad(), [random_row((6, 9))], 1, reports.append, skipping)
    assert reports[0].losses.tolist() == [math.inf, 2.0]
    assert reports[0].loss == 2.0


def test_a_gradient_that_is_not_finite_names_what_the_rank_trained() -> None:
    with pytest.raises(NonFiniteLoss, match=r"step 1: the gradient .* \[100, 101\]"):
        run(ScriptedEngine(grad_norm=math.inf), [random_row((5, 6))], 1)


def test_fp16_may_overflow() -> None:
    config = CONFIG.model_copy(update={"precision": "fp16"})
    assert run_rank(ScriptedEngine(grad_norm=math.inf), [random_row()], 1, lambda report: None, config) == 1


def test_rows_of_different_steps_are_refused() -> None:
    with pytest.raises(StepContractError, match="differ"):
        run(ScriptedEngine(), [random_row(step=1), random_row(step=2)], 2)


def test_rows_that_end_inside_a_step_are_refused() -> None:
    with pytest.raises(StepContractError, match="ended inside step 1"):
        run(ScriptedEngine(), [random_row()], 2)


def test_no_rows_are_no_steps() -> None:
    assert run(ScriptedEngine(), [], 2) == []


def test_waiting_for_rows_is_not_counted_as_training() -> None:
    def slow() -> Iterator[Row]:
        import time

        for step in range(1, 3):
            time.sleep(0.05)
            yield random_row(step=step)

    for report in run(ScriptedEngine(), slow(), 1):
        assert report.wait_s >= 0.05
        assert report.step_s < report.wait_s
