from collections.abc import Callable
from types import SimpleNamespace

import pytest
import ray

from dsa_ray.actors import trainer
from dsa_ray.config import ConfigError
from dsa_ray.storage.checkpoints import CheckpointError
from dsa_ray.training.isolation import IsolationError
from dsa_ray.training.loop import NonFiniteLoss, StepContractError
from dsa_ray.training.student import StudentError


@pytest.fixture
def rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], list[str]]:
    """Runs a rank that fails so; gives what the curator was told."""

    def fail_with(error: Exception) -> list[str]:
        told: list[str] = []

        def train(setup: object) -> None:
            raise error

        monkeypatch.setattr(trainer, "_train", train)
        monkeypatch.setattr(ray, "get", lambda call, timeout: call)
        curator = SimpleNamespace(fail=SimpleNamespace(remote=told.append))
        with pytest.raises(type(error)):
            trainer._train_rank({"curator": curator})
        return told

    return fail_with


@pytest.mark.parametrize(
    "kind", [CheckpointError, ConfigError, IsolationError, NonFiniteLoss, StepContractError, StudentError]
)
def test_what_no_restart_can_mend_ends_the_run_with_its_line(rank, kind: type[Exception]) -> None:
    assert rank(kind("what is wrong")) == ["what is wrong"]


def test_what_a_restart_may_mend_is_left_to_ray_train(rank) -> None:
    assert rank(ConnectionError("a peer is gone")) == []
