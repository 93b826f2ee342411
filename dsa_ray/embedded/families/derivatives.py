"""Differential calculus."""

from __future__ import annotations

from random import Random

from dsa_ray.embedded.families import steps
from dsa_ray.embedded.families.algebra import SMALL, quadratic, value_steps
from dsa_ray.embedded.families.family import Family, Values, between, exact
from dsa_ray.embedded.families.poly import Poly, linear


def _monomial_values(rng: Random, difficulty: int) -> Values:
    return {"f": Poly([(between(rng, 2, 12, difficulty > 3), rng.randint(2, (6, 7, 8, 9, 9)[difficulty - 1]))])}


def _monomial_work(f: Poly) -> tuple[str, Poly]:
    if len(f) != 1:
        raise ValueError("not a monomial")
    coefficient, exponent = f[0]
    return steps.join(steps.multiply(coefficient, exponent), steps.subtract(exponent, 1)), f.derivative()


def _polynomial_values(rng: Random, difficulty: int) -> Values:
    signed = difficulty > 2
    terms = [(rng.randint(2, max(6, SMALL[difficulty - 1])), rng.randint(2, (3, 4, 5, 6, 6)[difficulty - 1]))]
    if difficulty > 3:
        terms = [(rng.randint(2, 5), 3), (between(rng, 2, 9, signed), 2)]
    terms.append((between(rng, 2, 9, signed), 1))
    if difficulty != 1:
        terms.append((between(rng, 1, 9, signed), 0))
    return {"f": Poly(terms)}


def _follow_polynomial(rng: Random, f: Poly) -> Values | None:
    small = all(abs(coefficient) <= 30 and exponent <= 6 for coefficient, exponent in f)
    return {"f": f} if small and f.degree > 1 and len(f) > 1 else None


def derivative_steps(f: Poly) -> str:
    """The products of coefficient and exponent, for the terms that need one."""
    return steps.join(*(steps.multiply(coefficient, exponent) for coefficient, exponent in f if exponent > 1))


def _polynomial_work(f: Poly) -> tuple[str, Poly]:
    return derivative_steps(f), f.derivative()


def _sine_values(rng: Random, difficulty: int) -> Values:
    top = (7, 8, 9, 9, 9)[difficulty - 1]
    return {
        "a": between(rng, 2, top, difficulty > 3),
        "t": rng.choice(("sin", "cos")),
        "b": rng.randint(2, top),
    }


def _sine_work(a: int, t: str, b: int) -> tuple[str, str]:
    if t not in ("sin", "cos"):
        raise ValueError(f"unknown function {t}")
    factor = a * b if t == "sin" else -a * b
    other = "cos" if t == "sin" else "sin"
    return steps.multiply(a, b), f"{_factor(factor)}{other}({_factor(b)}x)"


def _exponential_values(rng: Random, difficulty: int) -> Values:
    top = (9, 9, 9, 12, 12)[difficulty - 1]
    return {"a": between(rng, 2, top, difficulty > 3), "b": between(rng, 2, top, difficulty > 2)}


def _exponential_work(a: int, b: int) -> tuple[str, str]:
    return steps.multiply(a, b), f"{_factor(a * b)}e^({_factor(b)}x)"


def _factor(number: int) -> str:
    return {1: "", -1: "-"}.get(number, str(number))


def _chain_values(rng: Random, difficulty: int) -> Values:
    top = (5, 7, 9, 9, 9)[difficulty - 1]
    inner = linear(rng.randint(2, top), between(rng, 1, top, difficulty > 2))
    return {"f": inner, "n": rng.randint(3, (4, 5, 6, 8, 9)[difficulty - 1])}


def _chain_work(f: Poly, n: int) -> tuple[str, str]:
    if f.degree != 1 or n < 3:
        raise ValueError("a power of a linear bracket expected")
    factor = n * f.at(1)
    return steps.join(steps.multiply(n, f.at(1)), steps.subtract(n, 1)), f"{factor}({f})^{n - 1}"


def _product_values(rng: Random, difficulty: int) -> Values:
    top = (3, 4, 5, 6, 7)[difficulty - 1]
    f = linear(rng.randint(1, top), rng.randint(1, top + 2))
    return {"f": f, "g": linear(rng.randint(2, top), between(rng, 1, top + 2, difficulty > 3))}


def _product_work(f: Poly, g: Poly) -> tuple[str, Poly]:
    """(ax+b)(cx+d): u'v has a*d without x, uv' has c*b, and x stands with 2ac."""
    a, b, c, d = f.at(1), f.at(0), g.at(1), g.at(0)
    if f.degree != 1 or g.degree != 1:
        raise ValueError("two linear factors expected")
    constant = steps.join(steps.multiply(a, d), steps.multiply(c, b), steps.add(a * d, c * b))
    return steps.join(steps.multiply(a, c), steps.multiply(2, a * c), constant), f.times(g).derivative()


def _second_values(rng: Random, difficulty: int) -> Values:
    terms = [(rng.randint(2, (9, 5, 6, 9, 9)[difficulty - 1]), rng.randint(3, (3, 4, 4, 4, 5)[difficulty - 1]))]
    terms.append((between(rng, 2, 9, difficulty > 2), 2 if difficulty > 1 else 1))
    return {"f": Poly(terms)}


def _second_work(f: Poly) -> tuple[str, Poly]:
    first = f.derivative()
    return steps.join(derivative_steps(f), derivative_steps(first)), first.derivative()


def _tangent_values(rng: Random, difficulty: int) -> Values:
    return {
        "f": quadratic(rng, difficulty, constant=difficulty > 1),
        "c": rng.randint(2, (5, 6, 7, 8, 9)[difficulty - 1]),
    }


def _tangent_work(f: Poly, c: int) -> tuple[str, int]:
    first = f.derivative()
    return steps.join(str(first), value_steps(first, c)), first.value(c)


def _critical_values(rng: Random, difficulty: int) -> Values:
    a, place = rng.randint(1, (1, 2, 3, 4, 5)[difficulty - 1]), between(rng, 1, 9, difficulty > 2)
    constant = rng.randint(1, 9)
    return {"f": Poly([(a, 2), (-2 * a * place, 1), (constant, 0)])}


def _critical_work(f: Poly) -> tuple[str, str]:
    if f.degree != 2:
        raise ValueError("not a quadratic")
    double, opposite = 2 * f.at(2), -f.at(1)
    return steps.join(str(f.derivative()), steps.divide(opposite, double)), f"x={exact(opposite, double)}"


FAMILIES = (
    Family(
        skill="derivative-of-a-monomial",
        forms=("Differentiate {f:poly}.", "Find the derivative of {f:poly}.", "If y={f:poly}, what is dy/dx?"),
        sample=_monomial_values,
        work=_monomial_work,
    ),
    Family(
        skill="derivative-of-a-polynomial",
        forms=("Differentiate {f:poly}.", "Find the derivative of {f:poly}.", "If y={f:poly}, what is dy/dx?"),
        sample=_polynomial_values,
        work=_polynomial_work,
        follow=_follow_polynomial,
    ),
    Family(
        skill="derivative-of-sine-and-cosine",
        forms=("Differentiate {a:factor}{t:word}({b}x).", "Find the derivative of {a:factor}{t:word}({b}x)."),
        sample=_sine_values,
        work=_sine_work,
    ),
    Family(
        skill="derivative-of-an-exponential",
        forms=("Differentiate {a:factor}e^({b}x).", "Find the derivative of {a:factor}e^({b}x)."),
        sample=_exponential_values,
        work=_exponential_work,
    ),
    Family(
        skill="chain-rule",
        forms=("Differentiate ({f:poly})^{n}.", "Find the derivative of ({f:poly})^{n}."),
        sample=_chain_values,
        work=_chain_work,
    ),
    Family(
        skill="product-rule",
        forms=("Differentiate ({f:poly})({g:poly}).", "Find the derivative of ({f:poly})({g:poly})."),
        sample=_product_values,
        work=_product_work,
    ),
    Family(
        skill="second-derivative",
        forms=("Differentiate {f:poly} twice.", "Find the second derivative of {f:poly}."),
        sample=_second_values,
        work=_second_work,
    ),
    Family(
        skill="slope-of-a-tangent",
        forms=("Find the slope of y={f:poly} at x={c}.", "How steep is y={f:poly} at x={c}?"),
        sample=_tangent_values,
        work=_tangent_work,
    ),
    Family(
        skill="critical-points",
        forms=("Find the critical point of {f:poly}.", "Where is the tangent of y={f:poly} flat?"),
        sample=_critical_values,
        work=_critical_work,
    ),
)
