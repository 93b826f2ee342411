from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.records import Session
from dsa_ray.skills.combinations import Place, count_one, count_two, draw


def syllabus(*sizes: int) -> list[Session]:
    return [Session(name=f"s{n}", concepts=tuple(f"c{n}{m}" for m in range(size))) for n, size in enumerate(sizes)]


def all_of(sessions: list[Session], strategy: str) -> set[tuple[Place, ...]]:
    """Every combination, by enumeration."""
    places = [(n, m) for n, session in enumerate(sessions) for m in range(len(session.concepts))]
    chosen = {subset for size in range(1, 6) for subset in combinations(places, size)}
    return {subset for subset in chosen if len({n for n, _ in subset}) == (1 if strategy == "one" else 2)}


def test_the_counts_are_those_of_the_paper() -> None:
    assert count_one(5) == 31
    assert count_two(5, 5) == 575


@given(st.integers(0, 7), st.integers(0, 7))
def test_the_counts_are_those_of_an_enumeration(first: int, second: int) -> None:
    assert count_one(first) == len(all_of(syllabus(first), "one"))
    assert count_two(first, second) == len(all_of(syllabus(first, second), "two"))


@pytest.mark.parametrize(("two", "strategy"), [(0.0, "one"), (1.0, "two")])
def test_every_combination_is_drawn_equally_often(two: float, strategy: str) -> None:
    sessions, rng = syllabus(3, 3), np.random.default_rng(0)
    wanted = all_of(sessions, strategy)
    drawn = Counter(draw(rng, sessions, two) for _ in range(200 * len(wanted)))
    assert set(drawn) == wanted
    assert max(abs(count - 200) for count in drawn.values()) < 5 * 200**0.5


@given(st.lists(st.integers(0, 6), max_size=5), st.integers(0, 99), st.floats(0, 1))
def test_what_is_drawn_lies_in_the_syllabus_in_order_and_depends_on_the_seed_alone(sizes, seed, two) -> None:
    sessions = syllabus(*sizes)
    chosen = draw(np.random.default_rng(seed), sessions, two)
    assert chosen == draw(np.random.default_rng(seed), sessions, two)
    assert list(chosen) == sorted(set(chosen))
    assert all(concept < len(sessions[session].concepts) for session, concept in chosen)
    assert (not chosen) == (not any(sizes))
    assert len(chosen) <= 5
    assert len({session for session, _ in chosen}) <= 2
