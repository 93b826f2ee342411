from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.sampler import Sampler
from dsa_ray.curriculum.skill_sampler import SkillSampler


def sampler(per_group: dict[str, int], cap: int = 1000) -> SkillSampler:
    groups = [group for group, count in per_group.items() for _ in range(count)]
    made = SkillSampler(lambda exercise: groups[exercise], cap=cap)
    for exercise in range(len(groups)):
        made.add(exercise)
    made.groups = groups
    return made


def visits_by_group(made: SkillSampler, steps: int, per_step: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    for step in range(1, steps + 1):
        chosen = made.peek(per_step, step).tolist()[:per_step]
        made.take(chosen, step)
        seen.update(made.groups[exercise] for exercise in chosen)
    return seen


def test_visits_go_to_the_groups_by_their_shares_whatever_their_sizes():
    made = sampler({"a": 10, "b": 200, "c": 50})
    made.set_shares({"a": 0.2, "b": 0.3, "c": 0.5})
    seen = visits_by_group(made, steps=100, per_step=10)
    assert seen == {"a": 200, "b": 300, "c": 500}


def test_inside_a_group_the_weights_count():
    made = sampler({"a": 2, "b": 2})
    made.set_shares({"a": 1, "b": 1})
    made.set_weight(0, 3.0)
    visits_by_group(made, steps=400, per_step=1)
    assert made.visits(0) == pytest.approx(150, abs=3)
    assert made.visits(2) == made.visits(3) == 100


def test_a_group_without_a_share_comes_only_when_the_others_have_nothing():
    first, then = sampler({"a": 3, "b": 3}, cap=2), []
    first.set_shares({"a": 1.0})
    for step in range(1, 13):
        chosen = first.peek(1, step).tolist()[:1]
        first.take(chosen, step)
        then.append(first.groups[chosen[0]])
    assert then == ["a"] * 6 + ["b"] * 6
    assert first.eligible == 0


def test_new_shares_hold_from_the_next_visit_on():
    made = sampler({"a": 20, "b": 20})
    made.set_shares({"a": 1.0})
    assert visits_by_group(made, 20, 2) == {"a": 40}
    made.set_shares({"a": 0.25, "b": 0.75})
    assert visits_by_group(made, 20, 2) == {"a": 10, "b": 30}


def test_a_group_that_had_nothing_does_not_catch_up():
    groups = {0: "a", 1: "b", 2: "b"}
    made = SkillSampler(groups.__getitem__, cap=1000)
    made.set_shares({"a": 1, "b": 1})
    made.add(0)
    for step in range(1, 101):
        made.take(made.peek(1, step), step)
    made.add(1)
    made.add(2)
    taken = []
    for step in range(101, 121):
        chosen = made.peek(1, step)[:1]
        made.take(chosen, step)
        taken.append(groups[int(chosen[0])])
    assert Counter(taken) == {"a": 10, "b": 10}


@pytest.mark.parametrize("shares", [{"a": -1.0, "b": 2.0}, {"a": float("nan")}, {"a": 0.0}, {}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="shares"):
        sampler({"a": 1}).set_shares(shares)


def test_an_unknown_exercise_is_refused():
    made = sampler({"a": 1})
    for call in (made.visits, made.drop, lambda e: made.take([e], 1), lambda e: made.untake([e])):
        with pytest.raises(ValueError, match="exercise 7"):
            call(7)


commands = st.lists(
    st.tuples(st.sampled_from(["take", "untake", "drop", "restore", "weight", "save"]), st.integers(0, 11)), max_size=40
)


@given(commands)
def test_with_one_group_it_does_what_the_plain_sampler_does(steps):
    plain, grouped = Sampler(cap=3, seed=5), SkillSampler(lambda exercise: "all", cap=3, seed=5)
    for made in (plain, grouped):
        for exercise in range(12):
            made.add(exercise)
    for step, (what, exercise) in enumerate(steps, start=1):
        if what == "take":
            chosen = plain.peek(4, step).tolist()
            assert grouped.peek(4, step).tolist() == chosen
            assert plain.take(chosen, step) == grouped.take(chosen, step)
        elif what == "untake":
            if plain.visits(exercise):
                plain.untake([exercise])
                grouped.untake([exercise])
        elif what == "weight":
            plain.set_weight(exercise, 0.5)
            grouped.set_weight(exercise, 0.5)
        elif what == "save":
            state, grouped = grouped.state_dict(), SkillSampler(lambda exercise: "all", cap=3, seed=5)
            grouped.load_state_dict(state)
        else:
            getattr(plain, what)(exercise)
            getattr(grouped, what)(exercise)
        for name in ("eligible", "unvisited", "dropped", "exhausted"):
            assert getattr(plain, name) == getattr(grouped, name)
        assert plain.visits_due(2) == grouped.visits_due(2)
        assert len(plain) == len(grouped)
