"""The coverage ledger: how often each key concept of each session of each subject was ordered and written (GLAN)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dsa_ray.records import ExerciseRequest, SkillGraph

Entry = tuple[str, int, int]
"""(subject, session, concept)."""


class Coverage:
    """Counts by subject, session and key concept. Idempotent by the request's id."""

    def __init__(self) -> None:
        self._ordered: dict[int, tuple[Entry, ...]] = {}
        self._written: set[int] = set()

    def order(self, request: ExerciseRequest) -> None:
        """An exercise on some concepts was ordered; other requests are left alone."""
        if request.concepts:
            self._ordered[request.id] = tuple((request.skills[0], *place) for place in request.concepts)

    def write(self, request: ExerciseRequest) -> None:
        """It was written."""
        if request.concepts:
            self.order(request)
            self._written.add(request.id)

    def rows(self, graph: SkillGraph) -> list[dict[str, Any]]:
        """One row per key concept of the graph, in its order: `subject session concept ordered written`."""
        ordered = Counter(entry for entries in self._ordered.values() for entry in entries)
        written = Counter(entry for request in self._written for entry in self._ordered[request])
        return [
            {
                "subject": skill.id,
                "session": session.name,
                "concept": concept,
                "ordered": ordered[skill.id, place, at],
                "written": written[skill.id, place, at],
            }
            for skill in graph.skills
            for place, session in enumerate(skill.sessions)
            for at, concept in enumerate(session.concepts)
        ]

    def totals(self, graph: SkillGraph) -> dict[str, int]:
        """Key concepts in all, and how many of them an exercise was written on."""
        return summary(self.rows(graph))


def summary(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    rows = list(rows)
    return {"concepts": len(rows), "covered": sum(row["written"] > 0 for row in rows)}
