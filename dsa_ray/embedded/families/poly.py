"""Polynomials in x as people write them: "3x^2+4x-5". The order of the terms is kept, zeros are left out."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TERM = re.compile(r"([+-]?)(\d*)(x?)(?:\^(\d+))?")


class Poly(tuple[tuple[int, int], ...]):
    """Terms (coefficient, exponent). `str()` and `parse` are inverse to each other.

    Example:
        str(Poly([(3, 2), (-1, 1)])) == "3x^2-x"
    """

    def __new__(cls, terms: Iterable[tuple[int, int]] = ()) -> Poly:
        return super().__new__(cls, (term for term in terms if term[0]))

    @classmethod
    def parse(cls, text: str) -> Poly | None:
        """The polynomial, or None if the text is none."""
        terms, end = [], 0
        while end < len(text):
            match = _TERM.match(text, end)
            if match is None or match.end() == end:
                return None
            sign, digits, x, exponent = match.groups()
            if (
                not (digits or x)
                or (exponent and not x)
                or (end and not sign)
                or len(digits) > 9
                or len(exponent or "") > 2
            ):
                return None
            terms.append((int(sign + (digits or "1")), int(exponent or 1) if x else 0))
            end = match.end()
        return cls(terms) if terms else None

    def __str__(self) -> str:
        text = "".join(_term(coefficient, exponent) for coefficient, exponent in self)
        return text.removeprefix("+") or "0"

    def at(self, exponent: int) -> int:
        """The coefficient of x^exponent, like terms added."""
        return sum(coefficient for coefficient, e in self if e == exponent)

    @property
    def degree(self) -> int:
        return max((exponent for _, exponent in self), default=0)

    def collected(self) -> Poly:
        """Like terms added, highest exponent first."""
        exponents = sorted({exponent for _, exponent in self}, reverse=True)
        return Poly((self.at(exponent), exponent) for exponent in exponents)

    def value(self, x: int) -> int:
        return sum(coefficient * x**exponent for coefficient, exponent in self)

    def derivative(self) -> Poly:
        return Poly((coefficient * exponent, exponent - 1) for coefficient, exponent in self if exponent)

    def times(self, other: Poly) -> Poly:
        return Poly((a * b, m + n) for a, m in self for b, n in other).collected()

    def plus(self, other: Iterable[tuple[int, int]]) -> Poly:
        return Poly((*self, *other)).collected()


def linear(a: int, b: int = 0) -> Poly:
    """ax+b."""
    return Poly([(a, 1), (b, 0)] if b else [(a, 1)])


def _term(coefficient: int, exponent: int) -> str:
    sign = "-" if coefficient < 0 else "+"
    size = str(abs(coefficient))
    if exponent == 0:
        return sign + size
    power = "x" if exponent == 1 else f"x^{exponent}"
    return sign + ("" if size == "1" else size) + power
