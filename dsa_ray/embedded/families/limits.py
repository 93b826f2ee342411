"""Limits and rates of change: the way from algebra to the derivative."""

from __future__ import annotations

from random import Random

from dsa_ray.embedded.families import steps
from dsa_ray.embedded.families.algebra import quadratic, value_steps, value_work
from dsa_ray.embedded.families.family import Family, Values, between, exact
from dsa_ray.embedded.families.poly import Poly, linear


def _limit_values(rng: Random, difficulty: int) -> Values:
    f = linear(rng.randint(2, 9), rng.randint(1, 9)) if difficulty == 1 else quadratic(rng, difficulty - 1)
    return {"f": f, "c": rng.randint(2, 5)}


def _limit_follow(rng: Random, f: Poly) -> Values | None:
    small = all(abs(coefficient) <= 30 for coefficient, _ in f)
    return {"f": f, "c": rng.randint(2, 5)} if small and 1 <= f.degree <= 2 else None


def _cancel_values(rng: Random, difficulty: int) -> Values:
    top = (8, 9, 9, 9, 9)[difficulty - 1]
    factor = between(rng, 1, 3, False) if difficulty > 2 else 1
    c = between(rng, 1, top, difficulty > 3)
    return {"g": linear(1, -c), "f": linear(factor, between(rng, 1, 9, difficulty > 1)), "c": c}


def _cancel_work(g: Poly, f: Poly, c: int) -> tuple[str, int]:
    """(x-c)f(x)/(x-c) tends to f(c)."""
    if g.degree != 1 or g.value(c):
        raise ValueError("not of the form 0/0")
    return steps.join(str(f), value_steps(f, c)), f.value(c)


def _average_values(rng: Random, difficulty: int) -> Values:
    if difficulty == 1:
        start = rng.randint(1, 6)
        return {"f": Poly([(1, 2)]), "a": start, "b": start + rng.randint(1, 6)}
    start, run = rng.randint(1, 3), rng.randint(1, 3)
    f = Poly([(rng.randint(2, 4), 2)]) if difficulty == 2 else quadratic(rng, difficulty - 2)
    return {"f": f, "a": start, "b": start + run}


def _average_work(f: Poly, a: int, b: int) -> tuple[str, int]:
    top, bottom = f.value(b), f.value(a)
    rates = steps.join(steps.subtract(top, bottom), steps.subtract(b, a), steps.divide(top - bottom, b - a))
    return steps.join(value_steps(f, b), value_steps(f, a), rates), exact(top - bottom, b - a)


FAMILIES = (
    Family(
        skill="limits-by-substitution",
        forms=("Find the limit of {f:poly} as x tends to {c}.", "Where does {f:poly} tend as x goes to {c}?"),
        sample=_limit_values,
        work=value_work,
        follow=_limit_follow,
    ),
    Family(
        skill="limits-by-cancelling",
        forms=(
            "Find the limit of ({g:poly})({f:poly})/({g:poly}) as x tends to {c}.",
            "Where does ({g:poly})({f:poly})/({g:poly}) tend as x goes to {c}?",
        ),
        sample=_cancel_values,
        work=_cancel_work,
    ),
    Family(
        skill="average-rate-of-change",
        forms=(
            "How fast does {f:poly} change from x={a} to x={b}?",
            "Average rate of change of {f:poly} from {a} to {b}?",
        ),
        sample=_average_values,
        work=_average_work,
    ),
)
