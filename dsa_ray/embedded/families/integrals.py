"""Integral calculus."""

from __future__ import annotations

from random import Random

from dsa_ray.embedded.families import steps
from dsa_ray.embedded.families.algebra import value_steps
from dsa_ray.embedded.families.family import Family, Values, between, exact
from dsa_ray.embedded.families.poly import Poly


def antiderivative(f: Poly) -> Poly:
    """With whole coefficients; raises ValueError where there is none."""
    return Poly((exact(coefficient, exponent + 1), exponent + 1) for coefficient, exponent in f)


def antiderivative_steps(f: Poly) -> str:
    return steps.join(*(steps.divide(coefficient, exponent + 1) for coefficient, exponent in f if exponent))


def _monomial_values(rng: Random, difficulty: int) -> Values:
    exponent = rng.randint(1, (5, 6, 7, 8, 8)[difficulty - 1])
    return {"f": Poly([(between(rng, 2, 9, difficulty > 3) * (exponent + 1), exponent)])}


def _monomial_work(f: Poly) -> tuple[str, str]:
    if len(f) != 1:
        raise ValueError("not a monomial")
    exponent = f[0][1]
    return steps.join(steps.add(exponent, 1), steps.divide(f[0][0], exponent + 1)), f"{antiderivative(f)}+C"


def _polynomial_values(rng: Random, difficulty: int) -> Values:
    signed = difficulty > 2
    high = rng.randint(2, (2, 3, 4, 5, 5)[difficulty - 1])
    terms = [(rng.randint(1, 7) * (high + 1), high), (between(rng, 1, 9, signed), 0)]
    if difficulty > 1:
        terms.insert(1, (2 * between(rng, 1, 9, signed), 1))
    return {"f": Poly(terms)}


def _polynomial_work(f: Poly) -> tuple[str, str]:
    return antiderivative_steps(f), f"{antiderivative(f)}+C"


def _definite_values(rng: Random, difficulty: int) -> Values:
    exponent = rng.randint(1, (1, 2, 2, 3, 3)[difficulty - 1])
    lower = rng.randint(0, 1 if difficulty < 3 else 2)
    f = Poly([((exponent + 1) * rng.randint(1, (6, 6, 7, 8, 9)[difficulty - 1]), exponent)])
    return {"f": f, "a": lower, "b": lower + rng.randint(1, (5, 4, 3, 3, 3)[difficulty - 1])}


def integral_work(f: Poly, a: int, b: int) -> tuple[str, int]:
    """Antiderivative, its values at the limits, their difference; the value at 0 is left out."""
    whole = antiderivative(f)
    top, bottom = whole.value(b), whole.value(a)
    values = [value_steps(whole, b)]
    if a:
        values += [value_steps(whole, a), steps.subtract(top, bottom)]
    return steps.join(str(whole), *values), top - bottom


def _area_values(rng: Random, difficulty: int) -> Values:
    terms = [(2 * rng.randint(1, (3, 4, 6, 6, 6)[difficulty - 1]), 1), (rng.randint(1, 9), 0)]
    if difficulty > 3:
        terms.insert(0, (3 * rng.randint(1, difficulty - 2), 2))
    return {"f": Poly(terms), "b": rng.randint(2, (4, 6, 7, 4, 4)[difficulty - 1])}


def _area_work(f: Poly, b: int) -> tuple[str, int]:
    return integral_work(f, 0, b)


FAMILIES = (
    Family(
        skill="integral-of-a-monomial",
        forms=("Integrate {f:poly}.", "Find the integral of {f:poly}."),
        sample=_monomial_values,
        work=_monomial_work,
    ),
    Family(
        skill="integral-of-a-polynomial",
        forms=("Integrate {f:poly}.", "Find the integral of {f:poly}."),
        sample=_polynomial_values,
        work=_polynomial_work,
    ),
    Family(
        skill="definite-integral",
        forms=("Integrate {f:poly} from {a} to {b}.", "Find the integral of {f:poly} from {a} to {b}."),
        sample=_definite_values,
        work=integral_work,
    ),
    Family(
        skill="area-under-a-curve",
        forms=("Find the area below y={f:poly} from 0 to {b}.", "How large is the area below y={f:poly} up to x={b}?"),
        sample=_area_values,
        work=_area_work,
    ),
)
