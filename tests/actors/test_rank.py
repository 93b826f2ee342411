import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import torch.distributed

from dsa_ray.actors import rank as one_rank
from dsa_ray.config import ConfigError
from dsa_ray.storage.checkpoints import CheckpointError
from dsa_ray.training.isolation import IsolationError
from dsa_ray.training.loop import NonFiniteLoss, StepContractError
from dsa_ray.training.student_check import StudentError
from tests.engines.ranks import spawn


@pytest.fixture
def rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], list[str]]:
    """Runs a rank that fails so; gives what the curator was told."""

    def fail_with(error: Exception) -> list[str]:
        told: list[str] = []

        def train(setup: object) -> None:
            raise error

        monkeypatch.setattr(one_rank, "_train", train)
        monkeypatch.setattr(ray, "get", lambda call, timeout: call)
        curator = SimpleNamespace(fail=SimpleNamespace(remote=told.append))
        with pytest.raises(type(error)):
            one_rank.train_rank({"curator": curator})
        return told

    return fail_with


@pytest.mark.parametrize(
    "kind", [CheckpointError, ConfigError, IsolationError, NonFiniteLoss, StepContractError, StudentError]
)
def test_what_no_restart_can_mend_ends_the_run_with_its_line(rank, kind: type[Exception]) -> None:
    assert rank(kind("what is wrong")) == ["what is wrong"]


def test_what_a_restart_may_mend_is_left_to_ray_train(rank) -> None:
    assert rank(ConnectionError("a peer is gone")) == []


def _mean_on(rank: int, ranks: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    mean = one_rank.LossMean()
    steps = [("textbooks", 9.0, 1000), ("exercises", 1.0 + rank, 30), ("exercises", 3.0, 10 + 20 * rank)]
    for phase, loss, tokens in steps:
        mean.add(SimpleNamespace(phase=phase, loss=loss, loss_tokens=tokens))  # type: ignore[arg-type]
    found = [mean.phase, mean.over_ranks()]
    mean.reset()
    Path(folder, f"{rank}.json").write_text(json.dumps([*found, mean.over_ranks()]))


def test_the_loss_of_a_checkpoint_is_that_of_all_ranks_tokens_in_the_phase_it_belongs_to(tmp_path: Path) -> None:
    spawn(_mean_on, str(tmp_path), ranks=2)
    expected = (1.0 * 30 + 3.0 * 10 + 2.0 * 30 + 3.0 * 30) / 100
    for rank in range(2):
        phase, loss, nothing = json.loads((tmp_path / f"{rank}.json").read_text())
        assert (phase, nothing) == ("exercises", None)
        assert loss == pytest.approx(expected)
