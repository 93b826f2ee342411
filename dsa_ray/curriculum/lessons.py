"""Whom to practise, and with what: the skills of the graph that exercises are ordered for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection

import numpy as np

from dsa_ray.records import Kind, Order, SkillBrief, SkillGraph
from dsa_ray.sections import GenerateConfig
from dsa_ray.skills.combinations import draw


class Lessons:
    """The order for the next exercise of any skill. Depends on graph, configuration and seed alone.

    Args:
        graph: its groups are never practised.
        briefs: of all its skills, in learning order.
        config: the generate section.
        elementary: ids of skills that are practised, not taught.
        seed: of the run.
    """

    def __init__(
        self,
        graph: SkillGraph,
        briefs: dict[str, SkillBrief],
        config: GenerateConfig,
        elementary: Collection[str],
        seed: int,
    ) -> None:
        self._briefs, self._config, self._seed = briefs, config, seed
        self._elementary = frozenset(elementary)
        self._pool = [skill.id for skill in graph.skills if not skill.group]
        self._levels = [skill.level for skill in graph.skills if not skill.group]
        self._place = {skill: place for place, skill in enumerate(self._pool)}
        self._number = {skill.id: number for number, skill in enumerate(graph.skills)}
        self.taught = tuple(skill for skill in self._pool if skill not in self._elementary)

    def practised(self, number: int) -> list[tuple[str, int]]:
        """The exercises of a round, as (skill, how many of it came before in this round): one for each skill that is
        taught, and as many for each elementary one as `generate.replay` makes due."""
        share = self._config.replay
        due = int((number + 1) * share) - int(number * share)
        counts = {skill: due if skill in self._elementary else 1 for skill in self._pool}
        return [(skill, nth) for nth in range(max(1, due)) for skill in self._pool if nth < counts[skill]]

    @property
    def replay_share(self) -> float:
        """Share of a round's exercises that are for elementary skills."""
        replayed = self._config.replay * (len(self._pool) - len(self.taught))
        return replayed / (replayed + len(self.taught)) if replayed else 0.0

    def order(self, skill: str, number: int, nth: int = 0) -> Order:
        """The nth exercise of a skill in a round: on concepts of its syllabus, or with skills that come no later."""
        rng = np.random.default_rng((self._seed, number, self._number[skill], *([nth] if nth else [])))
        difficulty = 1 + (number + nth) % self._config.opening_difficulty
        sessions = self._briefs[skill].sessions
        concepts = draw(rng, sessions, self._config.two_sessions) if sessions else ()
        skills = (skill,) if concepts else (skill, *self._partners(rng, skill))
        return Order(kind=Kind.EXERCISE, skills=skills, difficulty=difficulty, parents=(), concepts=concepts)

    def _partners(self, rng: np.random.Generator, skill: str) -> list[str]:
        count = int(rng.choice(self._config.skills_per_exercise))
        place = self._place[skill]
        others = bisect_right(self._levels, self._levels[place]) - 1
        if not others:
            return []
        chosen = rng.choice(others, size=min(count - 1, others), replace=False)
        return [self._pool[at + (at >= place)] for at in chosen.tolist()]
