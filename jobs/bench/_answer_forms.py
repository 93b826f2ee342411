"""Ten ways to write one number as a final answer, and wrong numbers that look like it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from random import Random

FORMS: dict[str, Callable[[Fraction], str]] = {
    "thousands": lambda value: _decimal(value, ","),
    "money": lambda value: f"${int(value)}.00" if value.denominator == 1 else f"${_decimal(value, ',')}",
    "boxed": lambda value: f"$\\boxed{{{_decimal(value)}}}$",
    "exponent": lambda value: _exponent(value),
    "power of ten": lambda value: _exponent(value).replace("e", " \\times 10^{") + "}",
    "unit": lambda value: f"{_decimal(value)} apples",
    "sentence": lambda value: f"The final answer is {_decimal(value, ',')}.",
    "label": lambda value: f"x = {_decimal(value)}",
    "bold": lambda value: f"**{_decimal(value)}{'.0' if value.denominator == 1 else '0'}**",
    "fraction": lambda value: f"\\frac{{{3 * value.numerator}}}{{{3 * value.denominator}}}",
}
"""Each takes the exact value."""


def exact(text: str) -> Fraction:
    """The value of a gold answer such as `1,234` or `-2.5`."""
    return Fraction(text.replace(",", "").replace("$", "").strip())


def wrong(value: Fraction, rng: Random) -> list[Fraction]:
    """Numbers that are not `value`: off by little, by a factor, by a sign, by a digit."""
    digits = str(abs(value.numerator))
    place = rng.randrange(len(digits))
    other = rng.choice([digit for digit in "123456789" if digit != digits[place]])
    near = Fraction(int(digits[:place] + other + digits[place + 1 :]), value.denominator)
    guesses = [value + 1, value - 1, value * 10, value / 10, -value, value * 2, value + Fraction(1, 100), near]
    return [guess for guess in guesses if guess != value]


def _decimal(value: Fraction, separator: str = "") -> str:
    return f"{_exactly(value):{separator}f}"


def _exponent(value: Fraction) -> str:
    """`1.234e3`: exact, with as many digits as are needed."""
    digits, _, power = f"{_exactly(value):e}".partition("e")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return f"{digits}e{int(power)}"


def _exactly(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
