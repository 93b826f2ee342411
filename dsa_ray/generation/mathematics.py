"""Arithmetic in a solution: every equation between numbers that it writes down has to hold.

Only what stands by itself is read: `12 - 2 * 3 = 6`, in a chain or not, with money signs and thousands separators.
Whatever touches a variable, a unit or a per cent sign is left alone. Values are floats; nothing is evaluated as code.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator

from dsa_ray.generation.answer_text import normalise
from dsa_ray.generation.expressions import NotAnExpression, evaluate, read

MAX_EQUATIONS = 200
"""So many equations of a solution are looked at."""
_CALCULATOR = re.compile(r"<<[^<>]{0,200}>>")
_NUMBER = r"(?:[$€£] ?)?\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,15})?"
_OPERAND = rf"\({{0,4}}-?{_NUMBER}\){{0,4}}"
_SIDE = rf"{_OPERAND}(?: ?[-+*/^×÷·] ?{_OPERAND}){{0,20}}"
_CHAIN = re.compile(rf"{_SIDE}(?: ?= ?{_SIDE}){{1,10}}")
_JOINED = re.compile(r"[\w.)^*/×÷·+($%,:\-]\Z")
_STANDS_BEFORE = re.compile(r"(?:[A-Za-z]{2,}|[,.)]) +\Z")
_AFTER = re.compile(r" ?[\^*/×÷·+(%=\-]|[\w]|[.,]\d| percent")
_OPERATOR = re.compile(r"[-+*/^]")
_SLACK = 1e-9


def wrong_equation(text: str) -> str | None:
    """The first equation between numbers in a text that does not hold; None if all do, or there is none."""
    for left, right in _equations(_CALCULATOR.sub("", text)):
        if _holds(left, right) is False:
            return f"{left} = {right}"
    return None


def _equations(text: str) -> Iterator[tuple[str, str]]:
    """Neighbouring sides of every chain that stands by itself."""
    at = seen = 0
    text = text.translate({0x2212: "-", 0x2013: "-"})
    while seen < MAX_EQUATIONS and (match := _CHAIN.search(text, at)):
        seen += 1
        if _continues(text[max(0, match.start() - 40) : match.start()], match.group()):
            at = _next_start(text, match.start())
            continue
        at = match.end()
        if _AFTER.match(text, at):
            continue
        sides = [side.strip() for side in match.group().split("=")]
        yield from itertools.pairwise(sides)


def _continues(before: str, chain: str) -> bool:
    """Whether the chain is the rest of a longer expression: `x + 3 = 8`, `5 apples - 2 = 3`."""
    if _STANDS_BEFORE.search(before):
        return chain.startswith("-")
    return bool(_JOINED.search(before.rstrip(" ")))


def _next_start(text: str, start: int) -> int:
    """Behind the number at `start`, so that no search begins inside it."""
    match = re.compile(r"\(*-?[$€£]? ?[\d.,]*").match(text, start)
    return max(start + 1, match.end() if match else 0)


def _holds(left: str, right: str) -> bool | None:
    """Whether both sides are equal, as far as the right one is written out; None where that cannot be told."""
    sides = [normalise(re.sub(r"[$€£] ?", "", side)) for side in (left, right)]
    if not any(_OPERATOR.search(side.lstrip("-")) for side in sides):
        return None
    try:
        values = [evaluate(read(side), {}) for side in sides]
    except (NotAnExpression, ArithmeticError, ValueError):
        return None
    if any(abs(value.imag) > _SLACK or not math.isfinite(value.real) for value in values):
        return None
    first, second = (value.real for value in values)
    return abs(first - second) <= _SLACK * max(1.0, abs(first)) + _rounding(sides[1])


def _rounding(side: str) -> float:
    """Half a unit of the last place of a decimal fraction: `10 / 3 = 3.33` holds."""
    match = re.fullmatch(r"-?\d+\.(\d+)", side)
    return 0.501 * 10.0 ** -len(match.group(1)) if match else 0.0
