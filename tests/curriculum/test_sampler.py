from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.curriculum.sampler import Sampler, tie_break


def sampler(*exercises: int, cap: int = 6, gap: int = 1, seed: int = 0) -> Sampler:
    made = Sampler(cap, gap, seed)
    for exercise in exercises:
        made.add(exercise)
    return made


def step_through(by: Sampler, steps: range, count: int = 1) -> list[int]:
    """Take `count` per step; returns what was taken."""
    taken = []
    for step in steps:
        ids = by.peek(count, step).tolist()
        by.take(ids, step)
        taken += ids
    return taken


def counts(by: Sampler) -> tuple[int, int, int]:
    return by.eligible, by.exhausted, by.dropped


def test_everyone_comes_once_before_anyone_comes_twice():
    by = sampler(*range(10))
    assert sorted(step_through(by, range(10))) == list(range(10))
    assert sorted(step_through(by, range(10, 20))) == list(range(10))


def test_the_order_among_equals_depends_on_the_seed_and_not_on_the_order_of_adding():
    forward = sampler(*range(20)).peek(20, 1).tolist()
    assert sampler(*reversed(range(20))).peek(20, 1).tolist() == forward
    assert sampler(*range(20), seed=1).peek(20, 1).tolist() != forward
    assert forward != sorted(forward)


def test_visits_follow_weights():
    by = sampler(1, 2, cap=1000)
    by.set_weight(2, 0.5)
    taken = Counter(step_through(by, range(90)))
    assert taken[1] == pytest.approx(60, abs=1)
    assert taken[2] == pytest.approx(30, abs=1)


def test_peeking_changes_nothing():
    by = sampler(*range(9))
    before = by.state_dict()
    first = by.peek(5, 1).tolist()
    assert by.peek(9, 1).tolist()[:5] == first
    assert by.peek(2, 1).tolist() == first[:2]
    after = by.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_taking_numbers_the_visits():
    by = sampler(1, 2)
    assert by.take([1], 1) == [1]
    assert by.take([2, 1], 2) == [1, 2]
    assert (by.visits(1), by.visits(2)) == (2, 1)


def test_one_at_its_cap_leaves():
    by = sampler(1, 2, cap=2)
    assert sorted(step_through(by, range(10))) == [1, 1, 2, 2]
    assert counts(by) == (0, 2, 0)
    assert by.peek(5, 99).size == 0


def test_a_gap_keeps_an_exercise_away():
    by = sampler(1, gap=3)
    assert [step for step in range(10) if step_through(by, range(step, step + 1))] == [0, 3, 6, 9]


def test_a_new_one_comes_next_and_then_as_often_as_the_others():
    by = sampler(1, 2, cap=100)
    step_through(by, range(20))
    by.add(3)
    assert 3 in step_through(by, range(20, 23))
    assert Counter(step_through(by, range(23, 53)))[3] == 10


def test_one_at_the_front_comes_before_all_but_only_once():
    by = sampler(*range(50))
    step_through(by, range(20))
    for exercise in (100, 101):
        by.add(exercise, front=True)
    assert sorted(step_through(by, range(20, 22))) == [100, 101]
    assert not {100, 101} & set(step_through(by, range(22, 52)))


def test_the_first_into_an_emptied_sampler_starts_where_the_last_left():
    by = sampler(1, cap=3)
    step_through(by, range(3))
    by.add(2)
    by.add(3)
    assert Counter(step_through(by, range(3, 7))) == {2: 2, 3: 2}


def test_a_dropped_one_is_never_offered_and_can_be_restored():
    by = sampler(1, 2, cap=100)
    by.drop(1)
    by.drop(1)
    assert counts(by) == (1, 0, 1)
    assert set(step_through(by, range(10))) == {2}
    by.restore(1)
    by.restore(1)
    assert counts(by) == (2, 0, 0)
    assert Counter(step_through(by, range(10, 20))) == {1: 5, 2: 5}
    assert sorted(by.peek(9, 99).tolist()) == [1, 2], "though it is in the heap twice"


def test_an_untaken_visit_is_as_if_it_had_not_been():
    by = sampler(1, 2, cap=2)
    by.take([1], 1)
    by.take([1], 2)
    assert counts(by) == (1, 1, 0)
    by.untake([1, 1])
    assert counts(by) == (2, 0, 0)
    assert by.visits(1) == 0
    assert sorted(by.peek(5, 2).tolist()) == [1, 2]


def test_untaking_a_dropped_one_does_not_bring_it_back():
    by = sampler(1)
    by.take([1], 1)
    by.drop(1)
    by.untake([1])
    assert counts(by) == (0, 0, 1)
    assert by.peek(1, 9).size == 0


def test_counts_add_up_when_an_exhausted_one_is_dropped():
    by = sampler(1, 2, cap=1)
    by.take([1], 1)
    by.drop(1)
    assert counts(by) == (1, 0, 1)
    by.restore(1)
    assert counts(by) == (1, 1, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda by: by.add(1), "in the sampler already"),
        (lambda by: by.add(9, weight=0.0), "not above 0"),
        (lambda by: by.set_weight(1, float("nan")), "not above 0"),
        (lambda by: by.take([1, 9], 2), "not in the sampler"),
        (lambda by: by.take([1, 1], 2), "taken twice"),
        (lambda by: by.take([1, 2], 2), "dropped or at its cap"),
        (lambda by: by.untake([1]), "no visit to undo"),
    ],
)
def test_a_broken_contract_is_refused_and_changes_nothing(call, message):
    by = sampler(1, 2)
    by.drop(2)
    before = by.state_dict()
    with pytest.raises(ValueError, match=message):
        call(by)
    after = by.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)


class Plain:
    """The same rules over a list that is sorted anew each time."""

    def __init__(self, real: Sampler) -> None:
        self._real = real

    def peek(self, count: int, step: int, cap: int, gap: int) -> list[int]:
        state = self._real.state_dict()
        names = ("virtual", "front", "id", "visits", "last_step", "dropped")
        rows = zip(*(state[f"sampler.{name}"].tolist() for name in names), strict=True)
        order = sorted(
            (virtual, not front, tie_break(exercise, 7), exercise)
            for virtual, front, exercise, visits, last, dropped in rows
            if not dropped and visits < cap and step - last >= gap
        )
        return [row[3] for row in order[:count]]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "front", "take", "untake", "drop", "restore", "weight"]), st.integers(0, 12)),
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(operations=OPERATIONS, gap=st.integers(0, 3), again=st.integers(0, 80))
def test_any_history_gives_the_order_of_a_plain_sort_also_after_a_round_trip(operations, gap, again):
    by, cap = Sampler(4, gap, 7), 4
    for step, (operation, value) in enumerate(operations):
        if step == again:
            fresh = Sampler(4, gap, 7)
            fresh.load_state_dict(by.state_dict())
            by = fresh
        expected = Plain(by).peek(value, step, cap, gap)
        assert by.peek(value, step).tolist() == expected
        if operation in ("add", "front") and value not in by:
            by.add(value, front=operation == "front")
        elif operation == "take":
            by.take(expected[::2], step)
        elif value in by:
            if operation == "untake" and by.visits(value):
                by.untake([value])
            elif operation == "weight":
                by.set_weight(value, 0.5 + value / 8)
            elif operation == "drop":
                by.drop(value)
            elif operation == "restore":
                by.restore(value)
        assert by.eligible == len(Plain(by).peek(99, 10**6, cap, gap))
        assert sum(counts(by)) == len(by)


def test_the_unvisited_are_those_never_taken_and_not_dropped():
    by = sampler(1, 2, 3)
    by.take([1], 1)
    by.drop(2)
    assert by.unvisited == 1
    by.untake([1])
    assert by.unvisited == 2
