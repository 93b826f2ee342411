"""What the trainer does when Ray Train does not get its ranks started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import ActorUnavailableError
from ray.train import ControllerError
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.util.placement_group import placement_group
from ray.util.state import get_actor

from dsa_ray.actors import trainer
from dsa_ray.actors.own_ray import start_ray
from tests.test_job_cluster import ray_folder


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
    lost = ControllerError(ActorUnavailableError("a call was lost", b"0" * 16))
    assert fit_with(monkeypatch, failed, late, lost, "trained", "once more") == ("trained", ["once more"])


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


@ray.remote(num_cpus=0)
class Asking:
    """As Ray Train's actors: started by others, it asks for the state of an actor."""

    def state(self) -> str:
        return get_actor(ray.get_runtime_context().get_actor_id(), timeout=10).state

    def state_of_a_child(self) -> str:
        return ray.get(Asking.remote().state.remote())

    def room_s(self) -> str | None:
        return os.environ.get("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S")

    def room_s_of_a_child(self) -> str | None:
        return ray.get(Asking.remote().room_s.remote())


@pytest.mark.ring
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("no_ray_left")
def test_what_the_trainer_starts_asks_its_own_cluster_though_another_left_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ray_folder() as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        Path(folder, "ray").mkdir()
        Path(folder, "ray", "ray_current_cluster").write_text("127.0.0.1:9")
        start_ray(1, include_dashboard=True, dashboard_host="127.0.0.1", configure_logging=False)
        asking = Asking.options(runtime_env=trainer.trainer_environment(elastic=False)).remote()
        assert ray.get(asking.state_of_a_child.remote(), timeout=30.0) == "ALIVE"
        ray.shutdown()


@pytest.mark.ring
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("no_ray_left")
def test_only_elastic_ranks_give_their_room_up_soon_unless_the_user_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
    for elastic, seconds in ((True, "10"), (False, None)):
        asking = Asking.options(runtime_env=trainer.trainer_environment(elastic)).remote()
        assert ray.get(asking.room_s_of_a_child.remote(), timeout=30.0) == seconds
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "90")
    assert trainer.trainer_environment(elastic=True)["env_vars"]["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] == "90"
    ray.shutdown()


def test_any_other_fault_of_the_controller_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ControllerError, match="no such storage"):
        fit_with(monkeypatch, ControllerError(OSError("no such storage")), "trained")
