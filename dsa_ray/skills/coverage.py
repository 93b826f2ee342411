"""The coverage ledger: how often each key concept of each session of each subject was ordered and written (GLAN)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from dsa_ray.records import ExerciseRequest, Skill, SkillGraph
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.texts import STREAM, request_from_row

Entry = tuple[str, int, int]
"""(subject, session, concept)."""
Place = tuple[str] | tuple[str, int] | Entry
"""A subject, one of its sessions, or a concept of that."""


class Coverage:
    """Counts by subject, session and key concept. Idempotent by the request's id."""

    def __init__(self) -> None:
        self._ordered: dict[int, tuple[Entry, ...]] = {}
        self._written: set[int] = set()
        self._counts: Counter[Place] = Counter()
        self._concepts: tuple[SkillGraph, int] | None = None

    def order(self, request: ExerciseRequest) -> None:
        """An exercise on some concepts was ordered; other requests are left alone."""
        if request.concepts:
            self._ordered[request.id] = tuple((request.skills[0], *place) for place in request.concepts)

    def write(self, request: ExerciseRequest) -> None:
        """It was written."""
        if request.concepts:
            self.order(request)
            if request.id not in self._written:
                self._written.add(request.id)
                self._counts.update(_places(self._ordered[request.id]))

    def written(self, *place: str | int) -> int:
        """Exercises that were written on a subject, one of its sessions, or a concept of that; each counts once."""
        return self._counts[place]  # type: ignore[index]

    def rows(self, graph: SkillGraph) -> list[dict[str, Any]]:
        """One row per key concept of the graph, in its order: `subject session concept ordered written`."""
        ordered = Counter(entry for entries in self._ordered.values() for entry in entries)
        return [
            {
                "subject": skill.id,
                "session": session.name,
                "concept": concept,
                "ordered": ordered[skill.id, place, at],
                "written": self.written(skill.id, place, at),
            }
            for skill in graph.skills
            for place, session in enumerate(skill.sessions)
            for at, concept in enumerate(session.concepts)
        ]

    def totals(self, graph: SkillGraph) -> dict[str, int]:
        """`concepts`: key concepts in all; `covered`: how many of them an exercise was written on."""
        if self._concepts is None or self._concepts[0] is not graph:
            concepts = sum(len(session.concepts) for skill in graph.skills for session in skill.sessions)
            self._concepts = graph, concepts
        return {"concepts": self._concepts[1], "covered": sum(len(place) == 3 for place in self._counts)}

    def lines(self, graph: SkillGraph, most: int = 60) -> list[str]:
        """A table for people, subjects with their sessions and key concepts: of a large graph the subjects alone, those
        with the fewest exercises; empty where no skill has a syllabus.

        Args:
            most: no more lines than about this.
        """
        subjects = [skill for skill in graph.skills if skill.sessions]
        if not subjects:
            return []
        totals = self.totals(graph)
        head = f"{totals['covered']} of {totals['concepts']} key concepts have an exercise"
        shown = [f"{head}; exercises written on each subject, session, key concept:"]
        rows = [row for skill in subjects for row in self._rows(skill)]
        if len(rows) > most:
            few = sorted(subjects, key=lambda skill: self.written(skill.id))[:most]
            rows = [next(self._rows(skill)) for skill in few]
            shown = [f"{head}; exercises written on each subject, the fewest first:"]
        shown += [f"{count:>7}  {'  ' * depth}{name}" for depth, name, count in rows]
        left = len(subjects) - sum(depth == 0 for depth, _, _ in rows)
        return [*shown, *([f"         and {left} subjects more"] if left else [])]

    def _rows(self, skill: Skill) -> Iterator[tuple[int, str, int]]:
        """(depth, name, exercises), names on one line."""
        yield 0, " ".join(skill.name.split()), self.written(skill.id)
        for place, session in enumerate(skill.sessions):
            yield 1, " ".join(session.name.split()), self.written(skill.id, place)
            for at, concept in enumerate(session.concepts):
                yield 2, " ".join(concept.split()), self.written(skill.id, place, at)


def coverage_of(journal: str) -> Coverage:
    """The ledger of a run's written exercises, from its journal; of what was ordered it knows no more than that."""
    found = Coverage()
    for _, rows in iter_segments(journal, STREAM):
        for row in rows:
            if row.get("concepts"):
                found.write(request_from_row(row))
    return found


def _places(entries: Iterable[Entry]) -> set[Place]:
    return {place for entry in entries for place in (entry[:1], entry[:2], entry)}
