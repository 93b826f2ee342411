"""Ladders that a run wants: once for an exercise, as many as a skill gets, and never undone."""

from __future__ import annotations

from typing import Any

from dsa_ray.curriculum.curator import Curator
from dsa_ray.curriculum.ladder_book import LadderBook
from dsa_ray.records import Kind
from dsa_ray.sections import LADDER_IDS, LaddersConfig
from tests.curriculum.simulation import World, small_config

LIVE = {"yoda": {"live": True, "hard_verdicts": 2, "per_skill": 2}, "train": {"publish_every": 10}}


class Book(LadderBook):
    def __init__(self, **yoda: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.spent: list[tuple[str, dict[str, int]]] = []
        self.next = 1000
        super().__init__(
            LaddersConfig(**{"live": True, "hard_verdicts": 3, "per_skill": 2, **yoda}),
            self.take,
            self.events.append,
            lambda skill, counts: self.spent.append((skill, dict(counts))),
        )

    def take(self, count: int) -> int:
        self.next += count
        return self.next - count


def test_a_ladder_is_wanted_after_enough_hard_verdicts_and_so_many_of_a_skill() -> None:
    book = Book()
    assert not book.wants(1, ("a",), 2)
    assert book.wants(1, ("a",), 3)
    assert not Book(live=False).wants(1, ("a",), 3)
    book.order(1, ("a",))
    assert not book.wants(1, ("a",), 4)
    book.order(2, ("a",))
    assert not book.wants(3, ("a",), 5)
    assert book.wants(3, ("a", "b"), 3)


def test_no_ladder_starts_from_what_one_taught() -> None:
    book = Book()
    assert book.wants(1000, ("a",), 3)
    book.order(1, ("a",))
    assert not any(book.wants(number, ("b",), 3) for number in (1000, 1000 + LADDER_IDS - 1))
    assert all(book.wants(number, ("b",), 3) for number in (999, 1000 + LADDER_IDS))


def test_ladders_are_given_out_in_their_order_until_they_are_over_each_with_ids_of_its_own() -> None:
    book = Book()
    for exercise in (5, 6, 7, 5):
        book.order(exercise, (str(exercise),))
    assert book.due((), 2) == [(5, 1000), (6, 1000 + LADDER_IDS)]
    assert [exercise for exercise, _ in book.due([5], 9)] == [6, 7]
    book.finish(6, {"samples": 3, "accepted": 2})
    book.finish(6, {"samples": 3, "accepted": 2})
    book.finish(99, {"samples": 1})
    assert [exercise for exercise, _ in book.due((), 9)] == [5, 7]
    assert book.facts() == {"wanted": 3, "over": 1, "samples": 3, "accepted": 2}
    assert book.spent == [("6", {"samples": 3, "accepted": 2})]
    assert Book().facts() == {}


def test_the_events_are_all_that_it_takes_to_go_on() -> None:
    book = Book()
    for exercise in (5, 6):
        book.order(exercise, ("a",))
    book.finish(5, {"samples": 1})
    again = Book()
    for event in [*book.events, {"event": "verdict", "exercise": 1}]:
        again.restore(event)
    assert again.due((), 9) == book.due((), 9) == [(6, 1000 + LADDER_IDS)]
    assert again.facts() == book.facts()
    assert not again.wants(7, ("a",), 9)
    assert again.events == []


def drive(world: World) -> None:
    """A whole run in which every ladder teaches two exercises as soon as it is wanted."""

    def climb() -> None:
        for lease in world.curator.lease_ladders((), 4):
            rows = [taught(world, lease.first + nth, lease.exercise, nth) for nth in range(2)]
            world.written += [(world.segment, row) for row in rows]
            world.curator.accept(world.segment, rows)
            world.segment += 1
            counts = {"samples": 2, "questions": 1, "teacher_output_tokens": 30, "teacher_input_tokens": 70}
            world.curator.supply.ladders.finish(lease.exercise, counts)

    world.run(climb)


def taught(world: World, number: int, exercise: int, place: int) -> dict[str, Any]:
    asked = world.curator.table.asked(exercise)
    return {
        "id": number, "kind": Kind.GIVEN.value, "skills": list(asked.skills), "difficulty": asked.difficulty,
        "parents": [exercise], "cause": None, "tokens": 20, "prompt_tokens": 10, "content_hash": number,
        "answer_hash": 1, "row": place, "output_tokens": 0, "seconds": 0.0,
    }  # fmt: skip


def test_skills_that_stay_hard_get_ladders_in_the_place_of_variants_and_what_they_teach_is_trained_on() -> None:
    world = World(small_config(**LIVE), hard=2)
    drive(world)
    ladders = [event for event in world.events if event["event"] == "ladder"]
    assert ladders
    verdicts = [event for event in world.events if event["event"] == "verdict"]
    chosen = [event["exercise"] for event in verdicts if event["decision"]["actions"] == ("ladder",)]
    assert chosen == [event["exercise"] for event in ladders]
    assert not any(event["children"] for event in verdicts if "ladder" in event["decision"]["actions"])
    per_skill: dict[tuple[str, ...], int] = {}
    for event in ladders:
        per_skill[tuple(event["skills"])] = per_skill.get(tuple(event["skills"]), 0) + 1
    assert max(per_skill.values()) <= 2
    trained = {item.exercise for row in world.rows for item in row.items}
    assert trained & {event["first"] for event in ladders}
    status = world.curator.status()
    assert status["decisions"]["ladder"] == status["ladders"]["wanted"] == len(ladders)
    assert world.curator.facts()["spending"]["by_kind"]["ladder"]["output_tokens"] == 30 * status["ladders"]["over"]


def wanting() -> World:
    """A run up to the first ladder that it wants."""
    world = World(small_config(**LIVE), hard=2)
    world.curator.start()
    attempt = world.curator.begin_attempt()
    while not world.curator.supply.ladders.facts():
        world.now += 1.0
        world.write()
        world.train_step(attempt)
    return world


def test_a_curator_that_begins_from_the_journal_wants_what_was_not_over_and_gives_no_id_twice() -> None:
    world = wanting()
    before = world.curator.lease_ladders((), 9)
    assert before
    events: list[dict[str, Any]] = []
    again = Curator(world.config, events.append)
    again.restore_supply(world.events, world.written)
    again.start()
    assert again.lease_ladders((), 9) == before
    assert again.supply.book.next_id >= max(lease.first for lease in before) + LADDER_IDS
    again.restore_training(world.curator.training_state())
    assert again.hard_runs.lengths == world.curator.hard_runs.lengths


def test_a_budget_that_is_spent_ends_ladders_too() -> None:
    world = wanting()
    assert world.curator.lease_ladders((), 9)
    world.curator.supply._router.close(0)
    assert world.curator.lease_ladders((), 9) == []
