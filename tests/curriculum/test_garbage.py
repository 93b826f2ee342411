"""A replica whose answers cannot be read is replaced; a hard kind of request or a bad teacher replaces nobody."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.curriculum.garbage import (
    EVERY,
    FALSE_ALARM,
    REPLACEMENTS,
    UNREADABLE,
    WINDOW,
    WITHIN_S,
    Garbage,
    chance,
    compare,
)
from dsa_ray.generation.checks import REASONS

TABLE = st.tuples(*[st.integers(0, 12)] * 4)


def served(replicas: int = 3) -> Garbage:
    return Garbage({f"teacher-{number}": 0 for number in range(replicas)}.get)


def answer(garbage: Garbage, name: str, bad: int, good: int, incarnation: int = 1, kind: str = "exercise") -> None:
    """So many answers, the bad ones first."""
    for number in range(bad + good):
        garbage.add(name, incarnation, kind, number < bad)


def test_the_reasons_are_reasons_of_the_checks() -> None:
    assert set(REASONS) > UNREADABLE


@given(st.lists(TABLE, min_size=1, max_size=3))
def test_the_chance_is_that_of_all_ways_to_deal_out_the_same_answers(tables: list[tuple[int, int, int, int]]) -> None:
    ways: Counter[int] = Counter()
    per_kind = [
        [
            (k, math.comb(bad + good, k) * math.comb(bad_there + good_there, bad + bad_there - k))
            for k in range(bad + bad_there + 1)
        ]
        for bad, good, bad_there, good_there in tables
    ]
    for dealt in product(*per_kind):
        ways[sum(k for k, _ in dealt)] += math.prod(number for _, number in dealt)
    seen = sum(bad for bad, _, _, _ in tables)
    exact = sum(number for k, number in ways.items() if k >= seen) / ways.total()
    assert chance(tables) == pytest.approx(exact, rel=1e-9, abs=1e-15)


@given(st.integers(1, 20), st.integers(1, 40), st.integers(0, 60), st.floats(1e-4, 1.0))
def test_a_chance_below_a_bound_comes_up_no_more_often_than_the_bound_says(
    own: int, others: int, bad: int, bound: float
) -> None:
    bad = min(bad, own + others)
    whole = math.comb(own + others, bad)
    often = 0.0
    for k in range(max(0, bad - others), min(own, bad) + 1):
        if chance([(k, own - k, bad - k, others - bad + k)]) <= bound:
            often += math.comb(own, k) * math.comb(others, bad - k) / whole
    assert often <= bound * (1 + 1e-9)


@given(st.lists(st.booleans(), max_size=80), st.lists(st.booleans(), max_size=80))
def test_more_bad_answers_never_look_better(own: list[bool], others: list[bool]) -> None:
    found = compare([("a", bad) for bad in own], [("a", bad) for bad in others])
    assert 0.0 <= found.chance <= 1.0
    if False in own and others:
        worse = list(own)
        worse[own.index(False)] = True
        assert compare([("a", bad) for bad in worse], [("a", bad) for bad in others]).chance <= found.chance + 1e-12


def test_one_of_three_that_answers_garbage_is_named_after_its_first_look() -> None:
    garbage = served()
    for name, bad in (("teacher-0", 2), ("teacher-1", EVERY), ("teacher-2", 3)):
        answer(garbage, name, bad, EVERY - bad)
    assert garbage.suspicious("teacher-1")
    assert not garbage.suspicious("teacher-0")
    (found,) = garbage.look(now=5.0)
    assert (found["replica"], found["incarnation"], found["unreadable"], found["answers"]) == (
        "teacher-1",
        1,
        1.0,
        EVERY,
    )
    assert garbage.to_replace == {"teacher-1": 1}
    assert garbage.condemned("teacher-1", 1)
    assert not garbage.condemned("teacher-1", 2)
    answer(garbage, "teacher-1", 0, 1, incarnation=2)
    assert garbage.to_replace == {}
    assert garbage.warnings() == ["teacher-1 was replaced once: it answered garbage"]


def test_a_late_answer_of_the_process_that_was_ended_says_nothing_of_its_successor() -> None:
    garbage = served()
    answer(garbage, "teacher-0", 0, WINDOW)
    answer(garbage, "teacher-1", WINDOW, 0)
    assert garbage.look(0.0)
    answer(garbage, "teacher-1", 0, EVERY, incarnation=2)
    answer(garbage, "teacher-1", WINDOW, 0, incarnation=1)
    assert garbage.look(1.0) == []
    assert not garbage.suspicious("teacher-1")


def test_a_hard_kind_and_a_bad_teacher_are_the_same_for_all() -> None:
    garbage = served(2)
    answer(garbage, "teacher-0", 32, 0, kind="textbook")  # only this one was given the kind that nobody can write
    answer(garbage, "teacher-0", 0, 16)
    answer(garbage, "teacher-1", 0, 64)
    assert garbage.look(0.0) == []
    answer(garbage, "teacher-1", 64, 0, kind="textbook")
    assert garbage.look(0.0) == []
    bad = served(2)
    answer(bad, "teacher-0", 60, 4)
    answer(bad, "teacher-1", 56, 8)
    assert bad.look(0.0) == []


def test_another_teachers_replicas_are_no_measure() -> None:
    garbage = Garbage({"teacher-0": 0, "teacher-1": 1}.get)
    answer(garbage, "teacher-0", WINDOW, 0)
    answer(garbage, "teacher-1", 0, WINDOW)
    assert garbage.look(0.0) == []


def test_one_that_no_process_can_better_is_not_judged() -> None:
    garbage = Garbage({"teacher-0": 0}.get)
    answer(garbage, "teacher-0", 0, WINDOW)
    answer(garbage, "remote-0", WINDOW, 0)
    assert garbage.look(0.0) == []
    assert not garbage.suspicious("remote-0")


def test_one_that_is_alone_is_held_against_its_own_past_over_restarts() -> None:
    garbage = served(1)
    answer(garbage, "teacher-0", 8, 120)
    assert garbage.look(0.0) == []
    answer(garbage, "teacher-0", WINDOW, 0)
    assert len(garbage.look(0.0)) == 1
    answer(garbage, "teacher-0", 32, 0, incarnation=2)
    assert len(garbage.look(1.0)) == 1
    fresh = served(1)
    answer(fresh, "teacher-0", 4 * WINDOW, 0)  # it never wrote anything else
    assert fresh.look(0.0) == []


def test_after_some_replacements_it_is_left_and_said_so_until_the_hour_is_over() -> None:
    garbage = served(2)
    for incarnation in range(1, REPLACEMENTS + 2):
        answer(garbage, "teacher-0", 0, WINDOW, incarnation=1)
        answer(garbage, "teacher-1", WINDOW, 0, incarnation=incarnation)
        assert len(garbage.look(float(incarnation))) == (incarnation <= REPLACEMENTS)
    assert "left as it is" in garbage.warnings()[0]
    answer(garbage, "teacher-1", EVERY, 0, incarnation=REPLACEMENTS + 1)
    assert len(garbage.look(WITHIN_S + 2.0)) == 1


@settings(max_examples=20)
@given(st.floats(0.0, 1.0), st.integers(2, 4), st.integers(0, 2**32))
def test_equal_replicas_are_not_replaced_however_bad_their_teacher(share: float, replicas: int, seed: int) -> None:
    garbage, draw = served(replicas), random.Random(seed)
    for number in range(400):
        garbage.add(f"teacher-{number % replicas}", 1, "exercise", draw.random() < share)
        assert garbage.look(0.0) == []


@settings(max_examples=20)
@given(st.floats(0.0, 0.4), st.integers(2, 4), st.integers(0, 2**32))
def test_a_broken_one_is_found_within_two_windows(share: float, replicas: int, seed: int) -> None:
    garbage, draw = served(replicas), random.Random(seed)
    for number in range(2 * WINDOW * replicas):
        which = number % replicas
        garbage.add(f"teacher-{which}", 1, "exercise", which == 0 or draw.random() < share)
        if found := garbage.look(0.0):
            assert [each["replica"] for each in found] == ["teacher-0"]
            return
    raise AssertionError("not found")


def test_the_bound_on_false_alarms_is_what_the_text_says() -> None:
    assert pytest.approx(16e6) == EVERY / FALSE_ALARM
