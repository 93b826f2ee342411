"""What the trainer does when Ray Train does not get its ranks started."""

from __future__ import annotations

from typing import Any

import pytest
from ray.train import ControllerError
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError

from dsa_ray.actors import trainer


def fit_with(monkeypatch: pytest.MonkeyPatch, *outcomes: Any) -> tuple[Any, list[Any]]:
    """The result of `fit` where each try comes to the next outcome, and those that are left."""
    left = list(outcomes)

    def once(*_: Any) -> Any:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(trainer, "_fit", once)
    monkeypatch.setattr(trainer, "AGAIN_S", 0.0)
    return trainer.fit(None, None, "", None, None), left


def test_ranks_that_do_not_start_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = ControllerError(WorkerGroupStartupFailedError("a rank failed to initialize"))
    late = ControllerError(WorkerGroupStartupTimeoutError(2))
    assert fit_with(monkeypatch, failed, late, "trained", "once more") == ("trained", ["once more"])


def test_any_other_fault_of_the_controller_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ControllerError, match="no such storage"):
        fit_with(monkeypatch, ControllerError(OSError("no such storage")), "trained")
