"""How far each level of the graph is mastered: counts that follow the newest verdict of every exercise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from dsa_ray.records import SkillGraph, VerdictClass

Judged = Iterable[tuple[tuple[str, ...], VerdictClass]]
"""Skills and newest verdict of every exercise that has one."""


class Mastery:
    """Share of a level's judged exercises that are easy now. An exercise stands at the highest level of its skills.

    Example:
        mastery.replace(("chain-rule",), before=None, after=VerdictClass.EASY)
        mastery.by_level(graph, all_of_them)  # {0: 1.0, 1: 0.25}
    """

    def __init__(self) -> None:
        self._graph: SkillGraph | None = None
        self._levels: dict[str, int] = {}
        self._judged: Counter[int] = Counter()
        self._easy: Counter[int] = Counter()

    def replace(self, skills: tuple[str, ...], before: VerdictClass | None, after: VerdictClass) -> None:
        """An exercise of these skills has a new verdict."""
        if self._graph is not None:
            self._count(skills, before, -1)
            self._count(skills, after, 1)

    def forget(self) -> None:
        """Many verdicts changed at once: the next `by_level` counts anew."""
        self._graph = None

    def by_level(self, graph: SkillGraph | None, judged: Callable[[], Judged]) -> dict[int, float]:
        """0..1 for every level with a verdict, lowest first; counted anew only after `forget` or with another graph."""
        if graph is not self._graph:
            self._recount(graph, judged)
        return {level: self._easy[level] / count for level, count in sorted(self._judged.items()) if count}

    def _recount(self, graph: SkillGraph | None, judged: Callable[[], Judged]) -> None:
        self._graph = graph
        self._levels = _levels(graph)
        self._judged, self._easy = Counter(), Counter()
        if graph is not None:
            for skills, verdict in judged():
                self._count(skills, verdict, 1)

    def _count(self, skills: tuple[str, ...], verdict: VerdictClass | None, by: int) -> None:
        if verdict is None:
            return
        level = max((self._levels.get(skill, 0) for skill in skills), default=0)
        self._judged[level] += by
        if verdict is VerdictClass.EASY:
            self._easy[level] += by


def _levels(graph: SkillGraph | None) -> Mapping[str, int]:
    return {skill.id: skill.level for skill in graph.skills} if graph is not None else {}
