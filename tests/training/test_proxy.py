from pathlib import Path

import pytest

from dsa_ray.sections import TrainConfig
from dsa_ray.training.proxy import ProxyPlan, train_proxy
from tests.engines.tiny_model import tiny_llama

CONFIG = TrainConfig(precision="fp32", learning_rate=3e-3)


def items(token: int) -> list[tuple[tuple[int, ...], int]]:
    """Prompts of one token followed by an answer of another."""
    return [((10 + n, token, token), 1) for n in range(6)]


DATA = ({"a": items(40), "b": items(50)}, {"a": items(40)[:2], "b": items(50)[:2], "c": []})


def test_training_on_a_skill_lowers_its_loss_more_than_anothers(tmp_path: Path):
    plan = ProxyPlan(model=tiny_llama(tmp_path / "proxy", spread=0.02), steps=12, batch=4, evaluations=3)
    found = train_proxy(plan, CONFIG, DATA, ["a"])
    assert found["steps"] == [0, 4, 8, 12]
    assert set(found["losses"]) == {"a", "b"}
    drops = {skill: losses[0] - losses[-1] for skill, losses in found["losses"].items()}
    assert drops["a"] > 1.0
    assert drops["a"] > drops["b"] + 0.5
    assert train_proxy(plan, CONFIG, DATA, ["a"]) == found
    both = train_proxy(plan, CONFIG, DATA, ["a", "b"])
    assert both["losses"]["b"][-1] < both["losses"]["b"][0] - 0.5


def test_a_skill_without_exercises_is_named():
    with pytest.raises(ValueError, match="c: has no exercises"):
        train_proxy(ProxyPlan(model="unused", steps=1, batch=1), CONFIG, DATA, ["a", "c"])
