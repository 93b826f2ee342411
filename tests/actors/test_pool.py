"""The pool fills and empties its slots; Ray is stood in for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray

from dsa_ray.actors import pool
from dsa_ray.actors.pool import ReplicaPool
from dsa_ray.config import Config, parse


class Replica:
    """Is done retiring when the test says so."""

    def __init__(self, index: int, teacher: int) -> None:
        self.index, self.teacher = index, teacher
        self.done: Any = False
        self.retire = SimpleNamespace(remote=lambda: self)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    ended: list[int] = []

    def get(replica: Replica, timeout: float) -> bool:
        if isinstance(replica.done, Exception):
            raise replica.done
        return replica.done

    fake = SimpleNamespace(
        get=get, kill=lambda replica, no_restart: ended.append(replica.index), exceptions=ray.exceptions
    )
    monkeypatch.setattr(pool, "ray", fake)
    return ended


def config(**changes: Any) -> Config:
    generate = {"replicas": 3, "in_flight": 10, **changes.pop("generate", {})}
    return parse({"run": {"name": "r"}, "graph": {"target": "t"}, "generate": generate, **changes})


class Made:
    def __init__(self, own: Config) -> None:
        self.now = 0.0
        self.pool = ReplicaPool(own, Replica, clock=lambda: self.now)
        self.pool.open()

    def there(self) -> list[int]:
        return [replica.index for replica in self.pool.replicas]


def test_a_fixed_pool_is_full_from_the_start_and_stays_so(killed: list[int]) -> None:
    made = Made(config())
    made.pool.scale([0])
    assert made.there() == [0, 1, 2]
    made.pool.close()
    assert (made.there(), killed) == ([], [0, 1, 2])


def test_an_elastic_pool_follows_the_backlog_and_ends_a_replica_once_it_is_empty(killed: list[int]) -> None:
    made = Made(config(generate={"min_replicas": 0}))
    assert made.there() == []
    made.pool.scale([1000])
    made.pool.scale([1000])
    assert made.there() == [0, 1]
    made.pool.scale([0])
    made.now = 31.0
    made.pool.scale([0])
    assert made.there() == [0, 1]
    made.pool.scale([0])
    assert killed == []
    made.pool.replicas[1].done = True
    made.pool.scale([0])
    assert (made.there(), killed) == ([0], [1])


def test_a_replica_that_died_while_retiring_is_ended_and_one_that_does_not_answer_waits(killed: list[int]) -> None:
    made = Made(config(generate={"min_replicas": 0}))
    made.pool.scale([1])
    made.pool.scale([0])
    made.now = 31.0
    made.pool.scale([0])
    (replica,) = made.pool.replicas
    replica.done = ray.exceptions.GetTimeoutError()
    made.pool.scale([0])
    assert killed == []
    replica.done = ray.exceptions.RayActorError()
    made.pool.scale([0])
    assert (made.there(), killed) == ([], [0])


def test_each_teacher_has_slots_of_its_own(killed: list[int]) -> None:
    teachers = [{"model": "a/b", "replicas": 1}, {"model": "c/d", "replicas": 2}]
    made = Made(config(teachers=teachers, generate={"min_replicas": 0}))
    made.pool.scale([0, 1000])
    assert [(replica.index, replica.teacher) for replica in made.pool.replicas] == [(1, 1)]


def test_what_answers_garbage_is_ended_once_and_left_to_ray_to_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(config())
    ended: list[tuple[int, bool]] = []
    fake = SimpleNamespace(kill=lambda replica, no_restart: ended.append((replica.index, no_restart)))
    monkeypatch.setattr(pool, "ray", fake)
    for condemned in ({}, {"teacher-1": 7}, {"teacher-1": 7}, {}, {"teacher-1": 8, "teacher-9": 1}):
        made.pool.replace(condemned)
    assert ended == [(1, False), (1, False)]
    assert made.there() == [0, 1, 2]
