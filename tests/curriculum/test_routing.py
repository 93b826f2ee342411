from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.curriculum.routing import Router
from dsa_ray.curriculum.spending import Spending, Terms
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


def spending(budget: BudgetConfig, *prices: tuple[float, float]) -> Spending:
    return Spending(budget, [Terms(prices=each, longest=(100, 50)) for each in prices or [(0.0, 0.0)]])


def test_no_budget_leaves_room_without_bound_and_a_limit_keeps_back_what_is_out() -> None:
    assert spending(BudgetConfig()).room(0, {0: 7}) is None
    made = spending(BudgetConfig(tokens=1000))
    assert [made.room(0, {0: out}) for out in (0, 4, 6, 9)] == [6, 2, 0, 0]
    made.book(request(1), {"input_tokens": 60, "output_tokens": 40, "seconds": 1.0}, accepted=False)
    assert made.room(0, {}) == 6
    made.book(request(2), {"input_tokens": 60, "output_tokens": 40, "seconds": 1.0}, accepted=True)
    assert made.room(0, {}) == 5
    assert (made.total.items, made.total.attempts) == (1, 2)
    assert made.facts()["by_kind"]["exercise"]["output_tokens"] == 80


def test_money_counts_both_directions_and_time_ends_it_too() -> None:
    made = spending(BudgetConfig(money=1.0), (1000.0, 3000.0))
    assert made.room(0, {}) == 4
    made.book(request(1), {"input_tokens": 100, "output_tokens": 50}, accepted=True)
    assert made.money == pytest.approx(0.25)
    assert made.room(0, {}) == 3
    timed = spending(BudgetConfig(seconds=10.0))
    assert timed.room(0, {0: 5}) > 1000
    timed.book(request(1), {"seconds": 11.0}, accepted=True)
    assert timed.room(0, {}) == 0


def test_each_teacher_has_its_price_and_what_a_free_one_writes_counts_for_nothing() -> None:
    made = spending(BudgetConfig(money=1.0, tokens=10_000), (1000.0, 3000.0), (0.0, 0.0), (1250.0, 0.0))
    assert [made.binds(teacher) for teacher in range(3)] == [True, False, True]
    assert [made.room(teacher, {}) for teacher in range(3)] == [4, None, 8]
    assert [made.room(teacher, {0: 2, 1: 99, 2: 1}) for teacher in range(3)] == [1, None, 3]
    made.book(request(1), {"input_tokens": 9_000_000, "output_tokens": 5_000_000}, accepted=True, teacher=1)
    assert (made.money, made.room(0, {})) == (0.0, 4)
    made.book(request(2), {"input_tokens": 100, "output_tokens": 50}, accepted=True, teacher=0)
    made.book(request(3), {"input_tokens": 100, "output_tokens": 50}, accepted=True, teacher=2)
    assert made.money == pytest.approx(0.375)
    assert [row["money"] for row in made.facts()["by_teacher"]] == [0.25, 0.0, 0.125]


@given(
    st.lists(st.tuples(st.floats(0.0, 50.0), st.floats(0.0, 50.0)), min_size=1, max_size=3),
    st.floats(0.001, 1.0),
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.floats(0.0, 1.0)), max_size=40),
)
def test_whatever_is_leased_paid_teachers_never_cost_more_than_the_budget(
    prices: list[tuple[float, float]], money: float, turns: list[tuple[int, int, float]]
) -> None:
    """Requests go out as far as there is room, come back later, and take at most what they may."""
    made = spending(BudgetConfig(money=money), *[(each[0] * 1000, each[1] * 1000) for each in prices])
    out: Counter[int] = Counter()
    for teacher, asked, share in turns:
        teacher %= len(prices)
        room = made.room(teacher, out)
        out[teacher] += asked if room is None else min(asked, room)
        done = int(share * out[teacher])
        out[teacher] -= done
        for number in range(done):
            made.book(request(number), {"input_tokens": 100, "output_tokens": 50}, accepted=True, teacher=teacher)
    for teacher, count in out.items():
        for number in range(count):
            made.book(request(number), {"input_tokens": 100, "output_tokens": 50}, accepted=True, teacher=teacher)
    if any(map(any, prices)):
        assert made.money <= money * (1 + 1e-9)


def test_a_price_of_a_teacher_goes_before_the_budgets_and_one_of_both_is_needed() -> None:
    budget = {"money": 1.0, "input_price": 2.0, "output_price": 3.0}
    common: dict[str, Any] = {"run": {"name": "r"}, "graph": {"target": "t"}}
    teachers = [{"model": "a/b"}, {"model": "c/d", "input_price": 0.0, "output_price": 7.0}]
    assert parse({**common, "teachers": teachers, "generate": {"budget": budget}}).prices == ((2.0, 3.0), (0.0, 7.0))
    assert parse({**common, "teacher": {"output_price": 1.0}, "generate": {"budget": {"money": 1.0}}}).prices == (
        (0.0, 1.0),
    )
    with pytest.raises(ConfigError, match="it would never bind"):
        parse({**common, "generate": {"budget": {"money": 1.0}}})


def test_work_of_a_closed_teacher_goes_to_those_who_write_the_same() -> None:
    router = Router(config({"model": "a/b", "weight": 9}, {"model": "c/d", "writes": ["questions"]}))
    assert router.close(0)
    assert {router.teacher(request(number)) for number in range(50)} == {1}
    assert not router.close(1)
    reviewed = Router(config({"model": "a/b"}, {"model": "c/d", "writes": ["questions"]}, votes=3))
    assert not reviewed.close(0)  # nobody else votes
