"""A budget that is spent stops the paid teachers; the free ones take over, and without any the run ends its writing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dsa_ray.curriculum.supply import BudgetSpent
from tests.curriculum.simulation import World, numbers_for, small_config

PAID = {"model": "m", "kind": "openai", "base_url": "http://127.0.0.1:9/v1", "input_price": 1.0, "output_price": 1.0}
FREE = {"model": "a/b"}


def world(*teachers: dict[str, Any], money: float, **generate: Any) -> World:
    generate = {"exercises_per_skill": 20, "budget": {"money": money}, **generate}
    made = World(small_config(teachers=list(teachers), generate=generate))
    made.curator.start()
    return made


def play(made: World, teachers: int, tokens: int = 1000, turns: int = 300) -> Counter[str]:
    """Replicas take turns until nothing is left to write. Returns items by replica."""
    items: Counter[str] = Counter()
    for turn in range(turns):
        name = f"teacher-{turn % teachers}"
        assignments = made.curator.lease_requests(name, "1", 8)
        version = {"generator_version": f"0/{name}.1", "input_tokens": tokens, "output_tokens": 0, "score": 4}
        made.curator.accept(turn, [numbers_for(each, at) | version for at, each in enumerate(assignments)])
        items[name] += len(assignments)
    return items


def test_the_free_teacher_takes_over_what_the_paid_one_may_not_write() -> None:
    made = world(PAID, FREE, money=0.05)
    items = play(made, 2)
    supply = made.curator.supply
    assert 40 < items["teacher-0"] <= 50
    assert supply.spending.money <= 0.05
    assert supply.book.unsettled == 0
    assert not supply.spent
    assert items.total() == supply.written.total()
    (event,) = [event for event in made.events if event["event"] == "budget"]
    assert (event["teacher"], event["unwritten"]) == (0, 0)
    assert event["rerouted"] > 0
    assert made.curator.status()["spent"]["teachers"] == [0]
    assert "generate.budget: spent on teachers.0; the other teachers write on" in made.curator.warnings()


def test_without_a_free_one_the_writing_ends() -> None:
    made = world(PAID, PAID, money=0.05)
    items = play(made, 2)
    assert 40 < items.total() <= 50
    assert made.curator.supply.spent
    assert made.curator.supply.book.unsettled == 0
    assert made.curator.warnings() == []


def test_a_free_one_that_cannot_review_does_not_write_what_nobody_reviews() -> None:
    free = {**FREE, "writes": ["questions"]}
    made = world(PAID, free, money=0.05, checks={"judge": 3})
    play(made, 2)
    assert made.curator.supply.spent
    assert made.curator.supply.book.unsettled == 0


def test_a_budget_that_ends_before_the_graph_is_said() -> None:
    made = world(PAID, money=0.002)
    with pytest.raises(BudgetSpent, match="before the skill graph was complete"):
        play(made, 1)


def test_a_resumed_run_knows_what_each_teacher_has_cost() -> None:
    made = world(PAID, FREE, money=0.05)
    written: list[tuple[int, dict[str, Any]]] = []
    for turn in range(40):
        name = f"teacher-{turn % 2}"
        version = {"generator_version": f"0/{name}.1", "input_tokens": 100, "output_tokens": 0}
        assignments = made.curator.lease_requests(name, "1", 4)
        lost = [each for each in assignments if not each.request.attempt][3:]
        rows = [numbers_for(each, at) | version for at, each in enumerate(assignments) if each not in lost]
        made.curator.accept(turn, rows)
        written += [(turn, row) for row in rows]
        told = {"attempt": 0, "reason": "schema", **version}
        made.curator.reject([{"id": each.request.id, **told} for each in lost])
    again = World(made.config)
    again.curator.restore_supply(made.events, written)
    costs = made.curator.supply.spending.by_teacher
    assert again.curator.supply.spending.by_teacher == costs
    assert costs[0].attempts > 4 < costs[1].attempts
