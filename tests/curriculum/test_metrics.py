from __future__ import annotations

from typing import Any

from dsa_ray.curriculum.metrics import LOG_EVERY, StepMetrics
from dsa_ray.storage.state import pack_state, unpack_state


def report(step: int, loss: float = 1.0) -> dict[str, Any]:
    levels = {"phase": "exercises", "lr": 0.1, "loss": loss, "grad_norm": 1.0}
    return {"step": step, **levels, "tokens": 10, "loss_tokens": 5, "wait_s": 0.0, "step_s": 0.5}


def test_a_step_that_an_older_attempt_did_not_finish_is_counted_anew() -> None:
    metrics = StepMetrics(2)
    metrics.add(report(1, loss=9.0), dict)
    metrics.begin_attempt(2)
    for _ in range(2):
        metrics.add(report(1), dict)
    assert metrics.totals()["exercises"]["steps"] == 1
    assert metrics.status()["train"]["loss"] == 1.0


def test_steps_of_another_number_of_ranks_are_joined_and_say_so() -> None:
    metrics = StepMetrics(2)
    metrics.begin_attempt(3)
    for step in range(1, LOG_EVERY + 1):
        for _ in range(3):
            metrics.add(report(step), dict)
    (line,) = metrics.drain()
    assert (line["ranks"], line["tokens"], line["tokens_per_s"]) == (3, 30 * LOG_EVERY, 60.0)


def test_totals_go_back_with_the_trainer_to_its_checkpoint() -> None:
    metrics = StepMetrics(1)
    for step in range(1, 6):
        metrics.add(report(step), dict)
    state = unpack_state(pack_state({"metrics": metrics.state_dict()}))["metrics"]
    expected = metrics.totals()
    for begun in (metrics, StepMetrics(1)):  # the same process, and a resumed run
        for step in range(6, 9):
            begun.add(report(step), dict)
        begun.begin_attempt(1, state)
        assert begun.totals() == expected
        begun.add(report(6), dict)
        assert begun.totals()["exercises"]["steps"] == 6
        begun.begin_attempt(1)
        assert begun.totals() == {}


def test_the_last_steps_have_a_line_though_they_fill_no_group() -> None:
    metrics = StepMetrics(1)
    for step in range(1, LOG_EVERY + 3):
        metrics.add(report(step), dict)
    metrics.close(dict)
    metrics.close(dict)
    assert [line["step"] for line in metrics.drain()] == [LOG_EVERY, LOG_EVERY + 2]


def test_utilisation_is_that_of_all_ranks_and_left_out_where_one_does_not_know_its_peak() -> None:
    metrics = StepMetrics(2)
    for step in range(1, 2 * LOG_EVERY + 1):
        metrics.add({**report(step), "peak_tokens_per_s": 100.0}, dict)
        metrics.add({**report(step), "peak_tokens_per_s": 60.0 if step <= LOG_EVERY else None}, dict)
    known, unknown = metrics.drain()
    assert known["tokens_per_s"] == 40.0
    assert known["mfu"] == 40.0 / 160.0
    assert "mfu" not in unknown
