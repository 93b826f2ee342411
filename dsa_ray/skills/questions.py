"""What the construction of a graph asks a teacher, what it is answered, and what all constructions have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dsa_ray.records import Kind, Prerequisites, SkillBrief, SkillGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to the teacher.

    Example:
        Question(kind=Kind.PREREQUISITES, brief=SkillBrief(id="limit", name="Limit"))
    """

    kind: Kind
    brief: SkillBrief
    nth: int = 0
    """Which of the questions of this kind about this skill."""
    parents: tuple[int, ...] = ()
    """Ids of requests whose texts the question needs: a syllabus."""


@dataclass(frozen=True, slots=True)
class Answer:
    """(name, text) pairs as the teacher gave them, with their origin."""

    names: tuple[tuple[str, str], ...]
    request: int | None = None
    generator: str = ""

    def order(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """In which order several answers to one question are taken, whichever arrived first."""
        return (-1 if self.request is None else self.request), self.names

    def row(self) -> list[Any]:
        return [[list(pair) for pair in self.names], self.request, self.generator]

    @classmethod
    def from_row(cls, row: list[Any]) -> Answer:
        return cls(tuple((name, text) for name, text in row[0]), row[1], row[2])


class Construction(Protocol):
    """A graph under construction: asks, is answered or failed, and is done when nothing is left to ask."""

    @property
    def done(self) -> bool: ...

    @property
    def faults(self) -> Sequence[str]:
        """What was dropped, merged or cut, for people."""
        ...

    def questions(self) -> list[Question]:
        """What came up since the last call."""
        ...

    def expect(self, skills: Sequence[str]) -> None:
        """Ids of skills that there are exercises of already: one that is named in other words is to have its id."""
        ...

    def take(self, kind: Kind, answer: Prerequisites, request: int, generator: str) -> None:
        """An answer to a question of this kind about `answer.skill`."""
        ...

    def fail(self, kind: Kind, skill: str) -> None:
        """The teacher has finally failed at one such question."""
        ...

    def graph(self) -> SkillGraph: ...
