"""Ladders on a local Ray, between scripted replicas that die and are given new weights on the way."""

from __future__ import annotations

import functools
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
import ray

from dsa_ray.actors.replica_actor import ReplicaActor
from dsa_ray.ladders.ladder import End, Ladder
from dsa_ray.streams.ladders import LadderPlan, build_ladder_stream, climbed
from tests.engines.scripted import config
from tests.streams.scripted_ladders import basic, climber

pytestmark = [pytest.mark.ring, pytest.mark.timeout(120)]
FACTORY = "tests.streams.scripted_ladders"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    yield
    ray.shutdown()


def replicas() -> tuple[str, str, list[ray.actor.ActorHandle]]:
    """Names and handles of a teacher and a student."""
    mark = uuid.uuid4().hex[:8]
    names = f"teacher-{mark}", f"student-{mark}"
    handles = []
    for name, engine in zip(names, ("teacher", "student"), strict=True):
        settings = config(
            teacher={"kind": "python", "model": engine, "factory": f"{FACTORY}:{engine}"},
            generate={"in_flight": 64, "slots": 64, "attempts": 1},
        )
        options = {"name": name, "num_cpus": 0.2, "max_restarts": -1}
        handles.append(ReplicaActor.options(**options).remote(name, settings, engine))
    ray.get([handle.start.remote() for handle in handles])
    return *names, handles


def test_ladders_survive_the_death_of_either_replica_and_take_up_new_weights_on_the_way() -> None:
    teacher, student, handles = replicas()
    make = functools.partial(climber, [teacher], student)
    stream = build_ladder_stream([basic(number) for number in range(48)], make, LadderPlan(at_once=16))
    over: list[Ladder] = []
    counts: Counter[str] = Counter()
    for ladder, counted in climbed(stream):
        over.append(ladder)
        counts.update(counted)
        if len(over) == 6:
            ray.kill(handles[0], no_restart=False)
        if len(over) == 12:
            ray.kill(handles[1], no_restart=False)
        if len(over) == 24:
            ray.get(ray.get_actor(student).load_weights.remote("/nowhere", "step-100"))
    assert sorted(ladder.id for ladder in over) == list(range(48))
    assert counts["ladders"] == 48
    assert {rung.end for ladder in over for rung in ladder.rungs} == {End.ACCEPTED}
    versions = {attempt.version for ladder in over for rung in ladder.rungs for attempt in rung.attempts}
    assert versions == {"0", "step-100"}
    teachers = {rung.posed.version for ladder in over for rung in ladder.rungs[1:]}
    assert len(teachers) == 2  # two incarnations of one replica
