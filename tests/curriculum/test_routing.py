from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.curriculum.routing import Router
from dsa_ray.curriculum.spending import Spending
from dsa_ray.records import ExerciseRequest, Kind
from dsa_ray.sections import BudgetConfig


def config(*teachers: dict[str, Any], **checks: Any) -> Config:
    return parse({"run": {"name": "r"}, "graph": {"target": "t"}, "teachers": teachers, "generate": {"checks": checks}})


def request(number: int, kind: Kind = Kind.EXERCISE, attempt: int = 0) -> ExerciseRequest:
    return ExerciseRequest(id=number, kind=kind, skills=("a",), attempt=attempt)


def test_one_teacher_writes_everything() -> None:
    router = Router(config())
    assert {router.teacher(request(number, kind)) for number in range(20) for kind in Kind} == {0}
    assert router.teacher_of("teacher-5") == router.teacher_of("local") == 0


def test_work_is_shared_by_weight_and_always_drawn_alike() -> None:
    router = Router(config({"model": "a/b", "weight": 3}, {"model": "c/d", "weight": 1}))
    drawn = [router.teacher(request(number)) for number in range(4000)]
    assert 0.72 < Counter(drawn)[0] / 4000 < 0.78
    assert drawn == [router.teacher(request(number)) for number in range(4000)]
    assert len({router.teacher(request(7, attempt=attempt)) for attempt in range(20)}) == 2


def test_answers_come_from_those_who_write_answers() -> None:
    router = Router(config({"model": "a/b", "writes": ["questions"]}, {"model": "c/d", "writes": ["answers"]}, votes=3))
    assert {router.teacher(request(number)) for number in range(50)} == {0}
    assert {router.teacher(request(number, Kind.ANSWER)) for number in range(50)} == {1}


def test_replicas_are_numbered_through_the_teachers() -> None:
    router = Router(config({"model": "a/b", "replicas": 2}, {"model": "c/d", "replicas": 3}))
    assert [router.teacher_of(f"teacher-{number}") for number in range(5)] == [0, 0, 1, 1, 1]


def test_a_role_that_nobody_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of them writes answers"):
        config({"model": "a/b", "writes": ["questions"]}, votes=3)
    with pytest.raises(ConfigError, match=r"teachers\.1\.base_url"):
        config({"model": "a/b"}, {"model": "c", "kind": "openai"})
    with pytest.raises(ConfigError, match="did you mean 'weight'"):
        config({"model": "a/b", "wieght": 2})


def test_no_budget_leaves_room_without_bound_and_a_limit_keeps_back_what_is_out() -> None:
    assert Spending(BudgetConfig(), (100, 50)).room(7) is None
    spending = Spending(BudgetConfig(tokens=1000), (100, 50))
    assert [spending.room(out) for out in (0, 4, 6, 9)] == [6, 2, 0, 0]
    spending.book(request(1), {"input_tokens": 60, "output_tokens": 40, "seconds": 1.0}, accepted=False)
    assert spending.room(0) == 6
    spending.book(request(2), {"input_tokens": 60, "output_tokens": 40, "seconds": 1.0}, accepted=True)
    assert spending.room(0) == 5
    assert (spending.total.items, spending.total.attempts) == (1, 2)
    assert spending.facts()["by_kind"]["exercise"]["output_tokens"] == 80


def test_money_counts_both_directions_and_time_ends_it_too() -> None:
    spending = Spending(BudgetConfig(money=1.0, input_price=1000.0, output_price=3000.0), (100, 50))
    assert spending.room(0) == 4
    spending.book(request(1), {"input_tokens": 100, "output_tokens": 50}, accepted=True)
    assert spending.money == pytest.approx(0.25)
    assert spending.room(0) == 3
    timed = Spending(BudgetConfig(seconds=10.0), (100, 50))
    assert timed.room(5) > 1000
    timed.book(request(1), {"seconds": 11.0}, accepted=True)
    assert timed.room(0) == 0
