"""Drills: lines of small arithmetic facts as they appear in the steps of solutions."""

from __future__ import annotations

from random import Random

from dsa_ray.embedded.families import steps

FACTS = 9


def drill(rng: Random) -> str:
    """E.g. "47+8=55, 6*7=42, 42/6=7, 30-7=23"."""
    return steps.join(*(_fact(rng) for _ in range(FACTS)))


def sums(rng: Random) -> str:
    """Sums and differences with carries, in one step as solutions have them: "15+18=33, 48-21=27, 180+48=228"."""
    return steps.join(*(_sum(rng) for _ in range(FACTS)))


def _sum(rng: Random) -> str:
    a, b = rng.randint(1, 99), rng.randint(10, 81)
    kind = rng.randrange(4)
    if kind == 0:
        return steps.add(10 * a, b)
    return steps.add(a, b) if kind < 3 else steps.subtract(a + b, b)


def _fact(rng: Random) -> str:
    kind = rng.randrange(10)
    if kind < 2:
        return steps.add(rng.randint(1, 9), rng.randint(1, 9))
    if kind < 4:
        return steps.add(rng.randint(10, 99), rng.randint(1, 9) * rng.choice((1, 1, 1, 10)))
    if kind < 6:
        a = rng.randint(2, 99)
        return steps.subtract(a, min(a, rng.randint(1, 9) * rng.choice((1, 1, 1, 10))))
    if kind < 7:
        return steps.subtract(rng.randint(1, 12), rng.randint(1, 12))
    a, b = rng.randint(1, 12), rng.randint(2, 12)
    if kind < 9:
        return steps.multiply(a, b)
    return steps.divide(a * b, b)
