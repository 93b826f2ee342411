"""The arithmetic that solutions show: "3*4=12", one short line per step."""

from __future__ import annotations

from dsa_ray.embedded.families.family import exact


def add(a: int, b: int) -> str:
    return f"{a}{b:+d}={a + b}"


def subtract(a: int, b: int) -> str:
    return f"{a}{-b:+d}={a - b}"


def multiply(a: int, b: int) -> str:
    return f"{a}*{b}={a * b}"


def divide(a: int, b: int) -> str:
    return f"{a}/{b}={exact(a, b)}"


def power(base: int, exponent: int) -> str:
    return f"{base}^{exponent}={base**exponent}"


def total(numbers: list[int]) -> str:
    """The sum of several numbers in one step; empty for a single one."""
    if len(numbers) < 2:
        return ""
    return f"{numbers[0]}{''.join(f'{number:+d}' for number in numbers[1:])}={sum(numbers)}"


def join(*steps: str) -> str:
    return ", ".join(step for step in steps if step)
