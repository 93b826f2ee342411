"""What an exercise family is: sampled values, a few ways to ask, and an exact solution.

A form is a question with slots. A slot says the kind of its value, so that the same text serves to ask and to read a
question back, and the family's `work` becomes an exact oracle for questions that somebody else wrote:

    {a}         a whole number            12, -3
    {b:signed}  one that follows a term   +5, -3
    {a:factor}  one before a term, 1 left out
    {f:poly}    a polynomial in x         3x^2+4x-5
    {g:ops}     digits and operations     20-4*3
    {g:word}    letters                   sin
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any

from dsa_ray.embedded.families.poly import Poly

Values = dict[str, Any]
RESULT = "the result"
"""Stands for the previous part's answer in a question of several parts."""

_SLOT = re.compile(r"\{(\w+)(?::(\w+))?\}")
_PATTERNS = {
    None: r"-?\d{1,6}",
    "signed": r"[+-]\d{1,6}",
    "factor": r"-?\d{0,6}",
    "poly": rf"[-+0-9x^]{{1,60}}|{RESULT}",
    "ops": r"[-+*/^0-9]{1,40}",
    "word": r"[a-z]{1,8}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question with its short worked solution and final answer."""

    question: str
    solution: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """Exercises of one skill.

    Example:
        Family(skill="expanding-brackets", forms=("Expand {k}({f:poly}).",), sample=..., work=...)
    """

    skill: str
    """Id of the skill."""
    forms: tuple[str, ...]
    """Ways to ask."""
    sample: Callable[[Random, int], Values]
    """Values for a difficulty of 1..5."""
    work: Callable[..., tuple[str, Any]]
    """Called with the values: the steps and the answer."""
    follow: Callable[[Random, Poly], Values | None] = field(default=lambda rng, poly: None)
    """Values that ask about a polynomial that came out before, or None where that makes no good question."""

    def ask(self, values: Mapping[str, Any], form: int = 0, hidden: str = "") -> str:
        """The question; the slot named `hidden` is put as "the result"."""
        return _SLOT.sub(
            lambda slot: RESULT if slot[1] == hidden else _written(values[slot[1]], slot[2]), self.forms[form]
        )

    def problem(self, values: Mapping[str, Any], form: int = 0, hidden: str = "") -> Problem:
        steps, answer = self.work(**values)
        return Problem(question=self.ask(values, form, hidden), solution=steps, answer=str(answer))

    def read(self, question: str, before: Poly | None = None) -> Values | None:
        """The values of a question in one of the forms; `before` is what "the result" stands for."""
        for pattern, kinds in self._readers:
            match = pattern.fullmatch(question)
            if match is None:
                continue
            values = {
                name: before if text == RESULT else _parsed(text, kinds[name])
                for name, text in match.groupdict().items()
            }
            if all(value is not None for value in values.values()):
                return values
        return None

    def answer(self, values: Mapping[str, Any]) -> str | None:
        """The exact answer, or None where the values make no sense (such as a division with a remainder)."""
        try:
            return str(self.work(**values)[1])
        except (ArithmeticError, ValueError):
            return None

    @cached_property
    def _readers(self) -> list[tuple[re.Pattern[str], dict[str, str | None]]]:
        return [_reader(form) for form in self.forms]


def exact(dividend: int, divisor: int) -> int:
    """A quotient without remainder; raises ValueError where there is one, ZeroDivisionError for 0."""
    quotient, remainder = divmod(dividend, divisor)
    if remainder:
        raise ValueError(f"{dividend}/{divisor} leaves a remainder")
    return quotient


def between(rng: Random, low: int, high: int, signed: bool = False) -> int:
    """A number of low..high, of either sign if `signed`."""
    value = rng.randint(low, high)
    return -value if signed and rng.random() < 0.5 else value


def _written(value: Any, kind: str | None) -> str:
    if kind == "signed":
        return f"{value:+d}"
    if kind == "factor":
        return {1: "", -1: "-"}.get(value, str(value))
    return str(value)


def _parsed(text: str, kind: str | None) -> Any:
    if kind == "poly":
        return Poly.parse(text)
    if kind == "factor":
        return int(text + "1") if text in ("", "-") else int(text)
    return int(text) if kind in (None, "signed") else text


def _reader(form: str) -> tuple[re.Pattern[str], dict[str, str | None]]:
    pattern, end, kinds = "", 0, {}
    for slot in _SLOT.finditer(form):
        name, kind = slot.groups()
        pattern += re.escape(form[end : slot.start()]) + (
            f"(?P={name})" if name in kinds else f"(?P<{name}>{_PATTERNS[kind]})"
        )
        kinds.setdefault(name, kind)
        end = slot.end()
    return re.compile(pattern + re.escape(form[end:])), kinds
