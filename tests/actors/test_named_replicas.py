import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from dsa_ray.actors import named_replicas
from dsa_ray.actors.named_replicas import NamedReplicas
from dsa_ray.engines.base import EngineAnswer, EngineDead, EngineError


class Cluster:
    """Replicas by name: each answers after `seconds`, or raises what is next in its list."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **faults: list[BaseException]) -> None:
        self.faults, self.asked, self.seconds = faults, Counter(), 0.0
        monkeypatch.setattr(ray, "get_actor", self.get)
        monkeypatch.setattr(named_replicas, "PAUSE_S", 0.01)

    def get(self, name: str) -> Any:
        if name not in self.faults:
            raise ValueError(f"no actor {name}")

        async def converse(*_: Any) -> tuple[EngineAnswer, str]:
            self.asked[name] += 1
            await asyncio.sleep(self.seconds)
            if self.faults[name]:
                raise self.faults[name].pop(0)
            return EngineAnswer(text="yes", finish_reason="stop", output_tokens=1), name

        return SimpleNamespace(converse=SimpleNamespace(remote=converse))


def ask(replicas: NamedReplicas, times: int = 1) -> list[str]:
    async def scenario() -> list[str]:
        found = await asyncio.gather(*(replicas.converse([], 8, 0.0) for _ in range(times)))
        return [version for _, version in found]

    return asyncio.run(asyncio.wait_for(scenario(), 10.0))


def test_a_replica_that_dies_is_asked_again_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    Cluster(monkeypatch, one=[RayActorError(), EngineDead("gone")])
    replicas = NamedReplicas(["one"], 5.0)
    assert ask(replicas) == ["one"]
    assert replicas.deaths == 2


def test_calls_go_to_the_replica_with_the_fewest_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, one=[], two=[])
    cluster.seconds = 0.05
    ask(NamedReplicas(["one", "two"], 5.0), 20)
    assert cluster.asked == {"one": 10, "two": 10}


def test_replicas_that_stay_away_fail_the_call_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    Cluster(monkeypatch)
    with pytest.raises(EngineError, match=r"nobody cannot be reached for 0\.1 s"):
        ask(NamedReplicas(["nobody"], 0.1))


def test_a_fault_of_the_request_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, one=[EngineError("too long")])
    with pytest.raises(EngineError, match="too long"):
        ask(NamedReplicas(["one"], 5.0))
    assert cluster.asked == {"one": 1}
