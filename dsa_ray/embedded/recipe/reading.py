"""Reading expressions: what the base student can do with polynomials before it is taught any algebra."""

from __future__ import annotations

from random import Random

from dsa_ray.embedded.families import Poly, Problem
from dsa_ray.embedded.families.family import between


def reading(rng: Random) -> Problem:
    """A question about how an expression is written: copy it, name a coefficient, name an exponent, count terms."""
    f = _polynomial(rng)
    coefficient, exponent = rng.choice(f)
    power = "x" if exponent == 1 else f"x^{exponent}"
    if rng.random() < 0.4:
        text = _decorated(rng, f)
        return Problem(question=f"Copy {text}.", solution="", answer=text)
    if exponent == 0:
        return Problem(question=f"Which number stands alone in {f}?", solution="", answer=str(coefficient))
    if rng.random() < 0.5:
        return Problem(question=f"Which number stands before {power} in {f}?", solution="", answer=str(coefficient))
    return Problem(question=f"Name the terms of {f}.", solution="", answer="; ".join(str(Poly([term])) for term in f))


def _polynomial(rng: Random) -> Poly:
    exponents = sorted(rng.sample(range(7), rng.randint(1, 3)), reverse=True)
    return Poly((between(rng, 2, 12, rng.random() < 0.3), exponent) for exponent in exponents)


def _decorated(rng: Random, f: Poly) -> str:
    a, b = rng.randint(2, 12), rng.randint(2, 9)
    shapes = ("{f}", "{f}", "({f})^{b}", "{a}({f})", "{a}sin({b}x)", "{a}cos({b}x)", "{a}e^({b}x)", "{f}+C", "x={a}")
    return rng.choice(shapes).format(f=f, a=a, b=b)
