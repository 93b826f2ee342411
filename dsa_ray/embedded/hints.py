"""Hints made of an exact solution's steps: where to begin, how to go on, never what comes out at the end."""

from __future__ import annotations

from dsa_ray.embedded import compose
from dsa_ray.embedded.families import FAMILIES

SEPARATOR = ", "
"""Between the steps of a solution (`families.steps.join`)."""


def steps_of(question: str) -> list[str]:
    """The steps of the exact solution, of all parts one after the other; empty where no family reads the question."""
    steps: list[str] = []
    for part in compose.understood(question):
        if part is None:
            return []
        worked, _ = FAMILIES[part.skill].work(**part.values)
        steps += [step for step in worked.split(SEPARATOR) if step]
    return steps


def hint(steps: list[str], number: int) -> str:
    """The `number`-th hint (0-based): the first step, then one more each time; what a step comes to only once another
    follows it.

    Example:
        hint(["43-7=36", "36/4=9"], 0) == "Work out 43-7."
        hint(["43-7=36", "36/4=9"], 1) == "43-7=36, then work out 36/4."
    """
    if not steps:
        return "Look at the question again."
    shown = steps[: number + 1]
    *done, last = shown
    begun = f"{SEPARATOR.join(done)}, then work out" if done else "Work out"
    return f"{begun} {last.partition('=')[0].rstrip('.')}."
