"""Which key concepts of a syllabus an exercise is to use (GLAN, arXiv 2402.13064).

Two strategies: one class session with 1 to 5 of its concepts, or two sessions with 2 to 5 of their concepts, both
used. Within the sessions, which are drawn evenly, every combination is equally likely (ours; GLAN says how many there
are and not how they are drawn).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from dsa_ray.records import Session

MOST = 5
"""Most key concepts in one exercise."""

Place = tuple[int, int]
"""(session, concept) in a syllabus."""


def count_one(concepts: int) -> int:
    """Combinations of one session with so many concepts: the sum of C(m, i) for i from 1 to 5.

    Example:
        count_one(5) == 31
    """
    return sum(comb(concepts, size) for size in range(1, MOST + 1))


def count_two(first: int, second: int) -> int:
    """Combinations of two sessions that use both: the sum over i from 2 to 5 of C(m1+m2, i) - C(m1, i) - C(m2, i).

    Example:
        count_two(5, 5) == 575
    """
    return sum(comb(first + second, size) - comb(first, size) - comb(second, size) for size in range(2, MOST + 1))


def draw(rng: np.random.Generator, sessions: Sequence[Session], two: float = 0.5) -> tuple[Place, ...]:
    """One combination, in the order of the syllabus; empty if no session has a concept.

    Args:
        rng: the only source of chance.
        sessions: of the subject.
        two: how likely two sessions are joined, where there are two with concepts.
    """
    usable = [place for place, session in enumerate(sessions) if session.concepts]
    if not usable:
        return ()
    if len(usable) > 1 and rng.random() < two:
        pair = sorted(int(usable[at]) for at in rng.choice(len(usable), size=2, replace=False))
        return _from_two(rng, sessions, pair[0], pair[1])
    place = usable[int(rng.integers(len(usable)))]
    count = len(sessions[place].concepts)
    weights = [comb(count, size) for size in range(1, MOST + 1)]
    return _some(rng, place, count, 1 + _pick(rng, weights))


def _from_two(rng: np.random.Generator, sessions: Sequence[Session], first: int, second: int) -> tuple[Place, ...]:
    m1, m2 = len(sessions[first].concepts), len(sessions[second].concepts)
    shares = [(a, b) for a in range(1, MOST) for b in range(1, MOST + 1 - a)]
    a, b = shares[_pick(rng, [comb(m1, a) * comb(m2, b) for a, b in shares])]
    return _some(rng, first, m1, a) + _some(rng, second, m2, b)


def _pick(rng: np.random.Generator, weights: Sequence[int]) -> int:
    return int(rng.choice(len(weights), p=np.array(weights, float) / sum(weights)))


def _some(rng: np.random.Generator, session: int, count: int, size: int) -> tuple[Place, ...]:
    return tuple((session, int(concept)) for concept in sorted(rng.choice(count, size=size, replace=False)))
