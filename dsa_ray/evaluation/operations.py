"""Arithmetic with newly defined operations (DSA, table 5): 200 operations that no model has met, a question on each.

The paper's questions are not public; the operations here are ours. Each is a definition such as "a @ b = 2*a + 3*b - 1"
and asks for its value, one question in four for the value of its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from dsa_ray.evaluation.exam import Question

NAME = "new-operations"
OPERATIONS = 200
_SIGNS = ("@", "#", "&", "~", "$", "%%", "<>", "!!", "?", "::")


@dataclass(frozen=True, slots=True)
class Operation:
    """A definition in words of mathematics, and what it computes."""

    formula: str
    """In a and b, e.g. `2*a + 3*b - 1`."""
    value: Callable[[int, int], int]


def operations(count: int = OPERATIONS, seed: int = 0) -> list[Question]:
    """So many questions on as many different operations; the same for the same seed."""
    rng = Random(f"{NAME}-{seed}")
    seen: set[str] = set()
    questions = []
    for operation in _drawn(rng):
        if operation.formula not in seen:
            seen.add(operation.formula)
            questions.append(_question(rng, operation, nested=len(questions) % 4 == 3))
        if len(questions) >= count:
            return questions
    raise AssertionError("operations are drawn without end")


def _question(rng: Random, operation: Operation, nested: bool) -> Question:
    sign = rng.choice(_SIGNS)
    a, b, c = (rng.randint(1, 9) for _ in range(3))
    defined = f"A new operation is defined by a {sign} b = {operation.formula}."
    if nested:
        value = operation.value(operation.value(a, b), c)
        return Question(skill=NAME, question=f"{defined} What is ({a} {sign} {b}) {sign} {c}?", answer=str(value))
    return Question(skill=NAME, question=f"{defined} What is {a} {sign} {b}?", answer=str(operation.value(a, b)))


def _drawn(rng: Random) -> Iterator[Operation]:
    """Operations without end; some come again."""
    while True:
        p, q, r = rng.randint(2, 5), rng.randint(2, 5), rng.randint(1, 9)
        yield rng.choice((_linear, _product, _square, _difference, _mixed))(p, q, r)


def _linear(p: int, q: int, r: int) -> Operation:
    return Operation(f"{p}*a + {q}*b - {r}", lambda a, b: p * a + q * b - r)


def _product(p: int, q: int, r: int) -> Operation:
    return Operation(f"a*b + {p}*a - {r}", lambda a, b: a * b + p * a - r)


def _square(p: int, q: int, r: int) -> Operation:
    return Operation(f"a^2 + {q}*b + {r}", lambda a, b: a * a + q * b + r)


def _difference(p: int, q: int, r: int) -> Operation:
    return Operation(f"{p}*(a - b) + {r}", lambda a, b: p * (a - b) + r)


def _mixed(p: int, q: int, r: int) -> Operation:
    return Operation(f"({p}*a + b)*{q} + {r}", lambda a, b: (p * a + b) * q + r)
