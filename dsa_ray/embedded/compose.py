"""Exercises that need one, two or three skills, and the exact oracle for their questions.

Where the first part yields a polynomial that the next skill can work with, the next part asks about "the result";
otherwise the parts stand side by side. The answers of the parts are separated by ";".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from dsa_ray.embedded.families import FAMILIES, RESULT, Poly, Problem
from dsa_ray.embedded.families.family import Values
from dsa_ray.embedded.partition import draw, held_out

FOLLOW_SHARE = 0.7
"""How often a part asks about the result of the one before, where it can."""
MAX_PARTS = 3
_PART = re.compile(r"(?:^| )\((\d)\) ")


class Part(NamedTuple):
    """A part of a question as a family understood it."""

    skill: str
    values: Values
    answer: str


def exercise(rng: Random, skills: Sequence[str], difficulty: int) -> Problem:
    """An exercise of these skills (ids), never one with a held-out question in it.

    Combining is a difficulty of its own: the parts of a combined exercise are one step easier.
    """
    if len(skills) == 1:
        return _single(rng, skills[0], difficulty)
    parts: list[Problem] = []
    for skill in skills[:MAX_PARTS]:
        previous = Poly.parse(parts[-1].answer) if parts else None
        following = _following(rng, skill, previous) if previous else None
        parts.append(following or _single(rng, skill, max(1, difficulty - 1)))
    return Problem(
        question=_numbered([part.question for part in parts]),
        solution=_numbered([part.solution for part in parts]),
        answer="; ".join(part.answer for part in parts),
    )


def solve(question: str) -> str | None:
    """The exact answer to a question in one of the families' forms, alone or combined; None if it is none."""
    parts = list(understood(question))
    return None if None in parts else "; ".join(part.answer for part in parts)


def contains_held_out(question: str) -> bool:
    """Whether the question, or a part of it, belongs to the exam."""
    return any(part is not None and held_out(part.skill, part.values) for part in understood(question))


def _single(rng: Random, skill: str, difficulty: int) -> Problem:
    family = FAMILIES[skill]
    return family.problem(draw(rng, skill, difficulty), rng.randrange(len(family.forms)))


def _following(rng: Random, skill: str, previous: Poly) -> Problem | None:
    family = FAMILIES[skill]
    values = family.follow(rng, previous)
    if values is None or held_out(skill, values) or rng.random() > FOLLOW_SHARE:
        return None
    part = family.problem(values, rng.randrange(len(family.forms)), hidden="f")
    return Problem(question=part.question, solution=f"{previous}: {part.solution}", answer=part.answer)


def _numbered(texts: Sequence[str]) -> str:
    return " ".join(f"({number}) {text}" for number, text in enumerate(texts, start=1))


def _split(question: str) -> list[str]:
    pieces = _PART.split(question)
    if len(pieces) < 3 or pieces[0]:
        return [question]
    return [text.strip() for text in pieces[2::2]]


def understood(question: str) -> Iterator[Part | None]:
    """Each part as the first family reads it that finds an answer; None where none does."""
    before: Poly | None = None
    for text in _split(" ".join(question.split())):
        part = _read(text, before)
        before = Poly.parse(part.answer) if part else None
        yield part


def _read(text: str, before: Poly | None) -> Part | None:
    if RESULT in text and before is None:
        return None
    for skill, family in FAMILIES.items():
        values = family.read(text, before)
        answer = family.answer(values) if values is not None else None
        if answer is not None:
            return Part(skill, values, answer)
    return None
