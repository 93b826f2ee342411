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
    a, c = between(rng, 1, top, difficulty > 3), between(rng, 1, top, difficulty > 2)
    return {"f": Poly([(1, 2), (a - c, 1), (-a * c, 0)]), "g": linear(1, -c), "c": c}


def _cancel_work(f: Poly, g: Poly, c: int) -> tuple[str, int]:
    """(x^2+(a-c)x-ac)/(x-c) at c is a+c, where a is the constant over c."""
    if f.value(c) or g.value(c) or f.at(2) != 1 or f.degree != 2:
        raise ValueError("not of the form 0/0")
    other = exact(f.at(0), g.at(0))
    return steps.join(steps.divide(f.at(0), g.at(0)), steps.add(c, other)), c + other


def _average_values(rng: Random, difficulty: int) -> Values:
    start, run = rng.randint(1, 3), rng.randint(1, 3)
    f = Poly([(rng.randint(1, 5 + difficulty), 2)]) if difficulty < 3 else quadratic(rng, difficulty - 2)
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
            "Find the limit of ({f:poly})/({g:poly}) as x tends to {c}.",
            "Where does ({f:poly})/({g:poly}) tend as x goes to {c}?",
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
