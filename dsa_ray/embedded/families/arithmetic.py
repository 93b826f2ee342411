"""Elementary skills: what the student knows before it is taught anything."""

from __future__ import annotations

from random import Random

from dsa_ray.embedded.families import steps
from dsa_ray.embedded.families.family import Family, Values, between, exact
from dsa_ray.embedded.families.poly import Poly, linear

SUM_LIMITS = (30, 50, 80, 150, 400)
"""Largest summand by difficulty."""


def _sum_values(rng: Random, difficulty: int) -> Values:
    limit = SUM_LIMITS[difficulty - 1]
    return {"a": rng.randint(11, limit), "b": rng.randint(4, limit)}


def _places(number: int) -> list[int]:
    """The parts by place value, highest first: 345 -> [300, 40, 5]."""
    digits = str(number)
    return [int(digit) * 10 ** (len(digits) - 1 - i) for i, digit in enumerate(digits) if digit != "0"] or [0]


def _sum_work(a: int, b: int) -> tuple[str, int]:
    done, result = [], a
    for part in _places(b):
        done.append(steps.add(result, part))
        result += part
    return steps.join(*done), result


def _difference_values(rng: Random, difficulty: int) -> Values:
    limit = SUM_LIMITS[difficulty - 1]
    a = rng.randint(15, limit)
    return {"a": a, "b": rng.randint(3, a - 1)}


def _difference_work(a: int, b: int) -> tuple[str, int]:
    done, result = [], a
    for part in _places(b):
        done.append(steps.subtract(result, part))
        result -= part
    return steps.join(*done), result


def _product_values(rng: Random, difficulty: int) -> Values:
    return {
        "a": rng.randint(11, (29, 39, 49, 69, 99)[difficulty - 1]),
        "b": rng.randint(2, (4, 6, 9, 9, 9)[difficulty - 1]),
    }


def _product_work(a: int, b: int) -> tuple[str, int]:
    parts = _places(a)
    products = [part * b for part in parts]
    return steps.join(*(steps.multiply(part, b) for part in parts), steps.total(products)), a * b


def _operations_values(rng: Random, difficulty: int) -> Values:
    top = (5, 7, 9, 9, 9)[difficulty - 1]
    b, c, rest = rng.randint(2, top), rng.randint(2, top), rng.randint(1, 9 * difficulty)
    inner = f"{b}*{c}" if rng.random() < 0.5 else f"{b * c}/{b}"
    outer = rng.choice((f"{rest}+{inner}", f"{inner}+{rest}"))
    if rng.random() < 0.3:
        outer = f"{rest + b * c}-{inner}"
    return {"g": outer}


def _operations_work(g: str) -> tuple[str, int]:
    """One product or quotient, and one sum or difference."""
    terms = _split_terms(g)
    if len(terms) != 2 or not set(g) & set("*/"):
        raise ValueError(f"{g}: a product or quotient beside another term expected")
    done, values = [], []
    for term in terms:
        value, step = _term_value(term)
        values.append(value)
        done.append(step)
    return steps.join(*done, steps.total(values)), sum(values)


def _split_terms(text: str) -> list[str]:
    return text.replace("-", "+-").removeprefix("+").split("+")


def _term_value(term: str) -> tuple[int, str]:
    sign, size = (-1, term[1:]) if term.startswith("-") else (1, term)
    for symbol, step in (("*", steps.multiply), ("/", steps.divide)):
        if symbol in size:
            left, right = (int(part) for part in size.split(symbol))
            return sign * (left * right if symbol == "*" else exact(left, right)), step(left, right)
    return sign * int(size), ""


_BASES_BY_EXPONENT = {2: (2, 12), 3: (2, 5), 4: (2, 3), 5: (2, 2), 6: (2, 2)}
"""Bases whose power is a two- or three-digit number worth knowing by heart."""


def _power_values(rng: Random, difficulty: int) -> Values:
    exponent = rng.choice((2, 2, 3) if difficulty == 1 else (2, 2, 3, 3, 4, 5, 6))
    low, high = _BASES_BY_EXPONENT[exponent]
    return {
        "a": rng.randint(low, high),
        "n": exponent,
        "b": between(rng, 1, 9 + 10 * (difficulty // 3), difficulty > 1),
    }


def _power_work(a: int, n: int, b: int) -> tuple[str, int]:
    if not (0 <= n <= 9 and abs(a) <= 99):
        raise ValueError("too large to compute by hand")
    return steps.join(steps.power(a, n), steps.add(a**n, b)), a**n + b


def _signed_values(rng: Random, difficulty: int) -> Values:
    top = (9, 12, 20, 30, 50)[difficulty - 1]
    a, b = between(rng, 1, top, True), between(rng, 1, top, True)
    return {"a": a if a < 0 else min(a, abs(b)), "b": b if a < 0 else -abs(b)}


def _signed_work(a: int, b: int) -> tuple[str, int]:
    large, small = max(abs(a), abs(b)), min(abs(a), abs(b))
    return (steps.subtract(large, small) if a * b < 0 else steps.add(large, small)), a + b


def _evaluate_values(rng: Random, difficulty: int) -> Values:
    top = (5, 7, 9, 9, 12)[difficulty - 1]
    return {"f": linear(rng.randint(2, top), between(rng, 1, 9, difficulty > 2)), "c": rng.randint(2, top)}


def _evaluate_work(f: Poly, c: int) -> tuple[str, int]:
    a, b = f.at(1), f.at(0)
    if f.degree > 1:
        raise ValueError("not linear")
    return steps.join(steps.multiply(a, c), steps.add(a * c, b)), a * c + b


FAMILIES = (
    Family(
        skill="addition",
        forms=("What is {a}+{b}?", "Add {a} and {b}.", "Compute {a}+{b}."),
        sample=_sum_values,
        work=_sum_work,
    ),
    Family(
        skill="subtraction",
        forms=("What is {a}-{b}?", "Subtract {b} from {a}.", "Compute {a}-{b}."),
        sample=_difference_values,
        work=_difference_work,
    ),
    Family(
        skill="multiplication",
        forms=("What is {a}*{b}?", "Multiply {a} by {b}.", "Compute {a}*{b}."),
        sample=_product_values,
        work=_product_work,
    ),
    Family(
        skill="order-of-operations",
        forms=("Find the value of {g:ops}.", "Work out {g:ops}."),
        sample=_operations_values,
        work=_operations_work,
    ),
    Family(
        skill="powers",
        forms=("What is {a}^{n}{b:signed}?", "Compute {a}^{n}{b:signed}."),
        sample=_power_values,
        work=_power_work,
    ),
    Family(
        skill="signed-numbers",
        forms=("Work out {a}{b:signed}.", "Give the value of {a}{b:signed}."),
        sample=_signed_values,
        work=_signed_work,
    ),
    Family(
        skill="evaluating-expressions",
        forms=("Find {f:poly} for x={c}.", "What is {f:poly} if x={c}?", "Evaluate {f:poly} at x={c}."),
        sample=_evaluate_values,
        work=_evaluate_work,
    ),
)
