"""What the trainer does when Ray Train does not get its ranks started."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from ray.train import ControllerError
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.util.placement_group import placement_group

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
    monkeypatch.setattr(trainer, "free_rooms", lambda: None)
    return trainer.fit(None, None, "", None, None), left


def test_ranks_that_do_not_start_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = ControllerError(WorkerGroupStartupFailedError("a rank failed to initialize"))
    late = ControllerError(WorkerGroupStartupTimeoutError(2))
    assert fit_with(monkeypatch, failed, late, "trained", "once more") == ("trained", ["once more"])


@ray.remote(num_cpus=0)
class Controller:
    """As Ray Train's: makes a placement group and keeps it."""

    def hold(self) -> bool:
        self.group = placement_group([{"CPU": 1}])
        return self.group.wait(10.0)


@pytest.mark.ring
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("no_ray_left")
def test_room_that_a_former_controller_holds_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "AGAIN_S", 0.0)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
    first, second = Controller.remote(), Controller.remote()
    assert ray.get(first.hold.remote())
    held = second.hold.remote()
    assert not ray.wait([held], timeout=1.0)[0]
    ray.kill(second)
    trainer.free_rooms()
    assert ray.get(Controller.remote().hold.remote())


def test_any_other_fault_of_the_controller_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ControllerError, match="no such storage"):
        fit_with(monkeypatch, ControllerError(OSError("no such storage")), "trained")
