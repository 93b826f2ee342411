"""Algebra and functions: the way from numbers to polynomials."""

from __future__ import annotations

from random import Random

from dsa_ray.embedded.families import steps
from dsa_ray.embedded.families.family import Family, Values, between, exact
from dsa_ray.embedded.families.poly import Poly, linear

SMALL = (4, 6, 9, 9, 9)
"""Largest coefficient by difficulty."""


def _like_values(rng: Random, difficulty: int) -> Values:
    signed = difficulty > 2
    terms = [(rng.randint(2, 9), 1), (between(rng, 2, 9, signed), 1)]
    if difficulty > 1:
        terms.append((between(rng, 1, 9, signed), 0))
    if difficulty > 3:
        terms.append((between(rng, 1, 9, True), 0))
    if difficulty > 4:
        terms.append((rng.randint(2, 9), 2))
    rng.shuffle(terms)
    return {"f": Poly(terms)}


def _like_work(f: Poly) -> tuple[str, Poly]:
    sums = []
    for exponent in sorted({exponent for _, exponent in f}, reverse=True):
        sums.append(steps.total([coefficient for coefficient, e in f if e == exponent]))
    return steps.join(*sums), f.collected()


def _brackets_values(rng: Random, difficulty: int) -> Values:
    a = 1 if difficulty == 1 else rng.randint(2, SMALL[difficulty - 1])
    return {"k": rng.randint(2, 9), "f": linear(a, between(rng, 1, 9, difficulty > 2))}


def _brackets_work(k: int, f: Poly) -> tuple[str, Poly]:
    products = [steps.multiply(k, coefficient) for coefficient, _ in f if coefficient != 1]
    return steps.join(*products), f.times(Poly([(k, 0)]))


def _powers_values(rng: Random, difficulty: int) -> Values:
    top = SMALL[difficulty - 1]
    f = Poly([(rng.randint(2, top), rng.randint(1, 2 + difficulty))])
    return {"f": f, "g": Poly([(between(rng, 2, top, difficulty > 3), rng.randint(1, 2 + difficulty))])}


def _powers_work(f: Poly, g: Poly) -> tuple[str, Poly]:
    if len(f) != 1 or len(g) != 1:
        raise ValueError("not monomials")
    (a, m), (b, n) = f[0], g[0]
    return steps.join(steps.multiply(a, b), steps.add(m, n)), f.times(g)


def _equation_values(rng: Random, difficulty: int) -> Values:
    top = SMALL[difficulty - 1]
    f = linear(rng.randint(2, top), between(rng, 1, 9, difficulty > 2))
    return {"f": f, "c": f.value(rng.randint(2, 9))}


def _equation_work(f: Poly, c: int) -> tuple[str, str]:
    a, b = f.at(1), f.at(0)
    return steps.join(steps.subtract(c, b), steps.divide(c - b, a)), f"x={exact(c - b, a)}"


def _products_values(rng: Random, difficulty: int) -> Values:
    top = (8, 9, 9, 9, 9)[difficulty - 1]
    a = rng.randint(2, 4) if difficulty > 4 else 1
    return {"f": linear(a, between(rng, 1, top, difficulty > 2)), "g": linear(1, between(rng, 1, top, difficulty > 3))}


def _products_work(f: Poly, g: Poly) -> tuple[str, Poly]:
    a, b, c, d = f.at(1), f.at(0), g.at(1), g.at(0)
    if a == c == 1:
        return steps.join(steps.add(b, d), steps.multiply(b, d)), f.times(g)
    crosses = steps.join(steps.multiply(a, d), steps.multiply(b, c), steps.add(a * d, b * c))
    return steps.join(crosses, steps.multiply(b, d)), f.times(g)


def quadratic(rng: Random, difficulty: int, constant: bool = False) -> Poly:
    """A quadratic whose coefficients grow with the difficulty: x^2+3x, 3x^2-3x, 5x^2-3x+4."""
    a = rng.randint(1, 1 + difficulty)
    terms = [(a, 2), (between(rng, 1, 9, difficulty > 2), 1)]
    return Poly([*terms, (rng.randint(1, 9), 0)] if constant or difficulty > 3 else terms)


def value_steps(f: Poly, x: int) -> str:
    """The value of a polynomial, term by term: "3^2=9, 2*9=18, 4*3=12, 18+12=30"."""
    done, parts = [], []
    for coefficient, exponent in f:
        if exponent > 1:
            done.append(steps.power(x, exponent))
        if exponent and coefficient != 1:
            done.append(steps.multiply(coefficient, x**exponent))
        parts.append(coefficient * x**exponent)
    return steps.join(*done, steps.total(parts))


def _value_values(rng: Random, difficulty: int) -> Values:
    return {"f": quadratic(rng, difficulty), "c": rng.randint(2, (5, 5, 6, 6, 9)[difficulty - 1])}


def _value_follow(rng: Random, f: Poly) -> Values | None:
    small = all(abs(coefficient) <= 30 for coefficient, _ in f)
    return {"f": f, "c": rng.randint(2, 5)} if small and 1 <= f.degree <= 2 else None


def value_work(f: Poly, c: int) -> tuple[str, int]:
    return value_steps(f, c), f.value(c)


def _composed_values(rng: Random, difficulty: int) -> Values:
    top = SMALL[difficulty - 1]
    inner = linear(rng.randint(2, top), between(rng, 1, top, difficulty > 3))
    return {"f": linear(rng.randint(2, top), between(rng, 1, 9, difficulty > 2)), "g": inner}


def _composed_work(f: Poly, g: Poly) -> tuple[str, Poly]:
    a, b, c, d = f.at(1), f.at(0), g.at(1), g.at(0)
    return steps.join(steps.multiply(a, c), steps.multiply(a, d), steps.add(a * d, b)), linear(a * c, a * d + b)


def _slope_values(rng: Random, difficulty: int) -> Values:
    slope = between(rng, 1, (4, 6, 9, 9, 9)[difficulty - 1], difficulty > 2)
    x, y, run = rng.randint(0, 6), rng.randint(0, 9), rng.randint(1, (3, 4, 5, 6, 9)[difficulty - 1])
    return {"a": x, "b": y, "c": x + run, "d": y + slope * run}


def _slope_work(a: int, b: int, c: int, d: int) -> tuple[str, int]:
    return steps.join(steps.subtract(d, b), steps.subtract(c, a), steps.divide(d - b, c - a)), exact(d - b, c - a)


FAMILIES = (
    Family(
        skill="like-terms",
        forms=("Simplify {f:poly}.", "Collect like terms in {f:poly}."),
        sample=_like_values,
        work=_like_work,
    ),
    Family(
        skill="expanding-brackets",
        forms=("Expand {k}({f:poly}).", "Multiply out {k}({f:poly})."),
        sample=_brackets_values,
        work=_brackets_work,
    ),
    Family(
        skill="products-of-powers",
        forms=("Write {f:poly}*{g:poly} as one power.", "Simplify {f:poly}*{g:poly}."),
        sample=_powers_values,
        work=_powers_work,
    ),
    Family(
        skill="linear-equations",
        forms=("Solve {f:poly}={c}.", "For which x is {f:poly}={c}?"),
        sample=_equation_values,
        work=_equation_work,
    ),
    Family(
        skill="expanding-products",
        forms=("Expand ({f:poly})({g:poly}).", "Multiply out ({f:poly})({g:poly})."),
        sample=_products_values,
        work=_products_work,
    ),
    Family(
        skill="function-values",
        forms=("If f(x)={f:poly}, what is f({c})?", "Let f(x)={f:poly}. Find f({c})."),
        sample=_value_values,
        work=value_work,
        follow=_value_follow,
    ),
    Family(
        skill="composed-functions",
        forms=(
            "If f(x)={f:poly} and g(x)={g:poly}, what is f(g(x))?",
            "Find f(g(x)) for f(x)={f:poly} and g(x)={g:poly}.",
        ),
        sample=_composed_values,
        work=_composed_work,
    ),
    Family(
        skill="slope-of-a-line",
        forms=(
            "A line goes through ({a},{b}) and ({c},{d}). Find its slope.",
            "Find the slope of the line from ({a},{b}) to ({c},{d}).",
        ),
        sample=_slope_values,
        work=_slope_work,
    ),
)
