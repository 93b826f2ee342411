"""The supply with a replica that answers garbage: it gets nothing more, and its requests are written by the others."""

from __future__ import annotations

from dsa_ray.curriculum.garbage import EVERY
from dsa_ray.curriculum.requests import ELSEWHERE_S
from dsa_ray.curriculum.routing import writer_of
from dsa_ray.records import Assignment
from tests.curriculum.simulation import World, numbers_for, small_config


def play(world: World, names: list[str], broken: dict[str, int], turns: int = 200) -> list[dict[str, int]]:
    """Replicas take turns; one whose incarnation is named in `broken` writes nothing that can be read.

    Whoever is condemned starts anew. Returns what was condemned.
    """
    incarnations = dict.fromkeys(names, 1)
    condemned = []
    for turn in range(turns):
        name = names[turn % len(names)]
        version = f"0/{name}.{incarnations[name]}"
        assignments = world.curator.lease_requests(name, str(incarnations[name]), 8)
        if world.curator.status()["garbage"].get(name) == incarnations[name]:
            assert assignments == []
            condemned.append({name: incarnations[name]})
            incarnations[name] += 1
        elif incarnations[name] <= broken.get(name, 0):
            world.curator.reject([garbled(each, version) for each in assignments])
        else:
            rows = [numbers_for(each, place) | {"generator_version": version} for place, each in enumerate(assignments)]
            world.curator.accept(turn, rows)
    return condemned


def garbled(assignment: Assignment, version: str) -> dict[str, object]:
    request = assignment.request
    return {"id": request.id, "attempt": request.attempt, "reason": "truncated", "generator_version": version}


def many() -> World:
    world = World(small_config(generate={"exercises_per_skill": 60, "replicas": 3}))
    world.curator.start()
    return world


def test_a_broken_replica_is_condemned_and_costs_no_request() -> None:
    world = many()
    condemned = play(world, ["teacher-0", "teacher-1", "teacher-2"], {"teacher-1": 1})
    assert condemned == [{"teacher-1": 1}]
    status = world.curator.status()
    assert status["replaced"] == 1
    assert status["rejections"].keys() == {"truncated"}
    assert any("teacher-1 was replaced once" in line for line in status["warnings"])
    (event,) = [event for event in world.events if event["event"] == "garbage"]
    assert (event["replica"], event["incarnation"], event["unreadable"]) == ("teacher-1", 1, 1.0)
    assert not [event for event in world.events if event["event"] == "reject" and event["final"]]
    assert world.curator.supply.book.unsettled == 0
    assert world.curator.facts()["replaced"] == {"teacher-1": 1}


def test_one_that_is_quick_to_ask_again_does_not_spend_the_attempts_at_the_graph() -> None:
    world = many()
    assert play(world, [*["teacher-1"] * 8, "teacher-0", "teacher-2"], {"teacher-1": 1}) == [{"teacher-1": 1}]
    assert not [event for event in world.events if event["event"] == "reject" and event["final"]]
    assert world.curator.supply.book.unsettled == 0


def test_what_it_held_goes_out_again_at_once() -> None:
    world = many()
    play(world, ["teacher-0", "teacher-2"], {}, turns=20)
    held = world.curator.lease_requests("teacher-1", "1", EVERY + 4)
    world.curator.reject([garbled(each, "0/teacher-1.1") for each in held[:EVERY]])
    assert world.curator.lease_requests("teacher-1", "1", 4) == []
    assert world.curator.supply.book.outstanding == 0
    again = world.curator.lease_requests("teacher-0", "1", EVERY + 4)
    assert {each.request.id for each in again} == {each.request.id for each in held}
    assert {each.request.attempt for each in again} == {1}


def test_a_request_is_spared_its_last_attempt_once() -> None:
    world = many()
    play(world, ["teacher-0"], {}, turns=20)
    supply = world.curator.supply
    supply.garbage.look = lambda now: []  # it looks broken, and that is not proven
    for attempt in range(3):
        held = world.curator.lease_requests("teacher-1", "1", EVERY)
        assert {each.request.attempt for each in held} == {attempt}
        world.now += ELSEWHERE_S  # no other takes it
        world.curator.reject([garbled(each, "0/teacher-1.1") for each in held])
    assert [event for event in world.events if event["event"] == "reject" and event["final"]] == []
    held = world.curator.lease_requests("teacher-1", "1", EVERY)
    assert {each.request.attempt for each in held} == {3}
    world.curator.reject([garbled(each, "0/teacher-1.1") for each in held])
    final = [event["id"] for event in world.events if event["event"] == "reject" and event["final"]]
    assert sorted(final) == sorted(each.request.id for each in held)


def test_a_teacher_that_can_write_nothing_condemns_nobody() -> None:
    world = many()
    names = ["teacher-0", "teacher-1", "teacher-2"]
    play(world, names, {}, turns=12)
    assert play(world, names, dict.fromkeys(names, 99)) == []


def test_an_endpoint_is_never_condemned() -> None:
    teacher = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    world = World(small_config(generate={"exercises_per_skill": 60, "replicas": 3}, teacher=teacher))
    world.curator.start()
    assert play(world, ["teacher-0", "teacher-1"], {"teacher-1": 1}) == []


def test_the_writer_stands_in_the_generators_version() -> None:
    assert writer_of("0/teacher-12.170") == ("teacher-12", 170)
    assert writer_of("step-100>step-200/teacher-0.3") == ("teacher-0", 3)
    assert writer_of("row 7") is writer_of("") is writer_of("row 0.5.x") is None
