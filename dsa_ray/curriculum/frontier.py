"""Which skills are open for training: those whose prerequisites the student has, and which of these it forgets.

What tells is the loss of first visits: an exercise that was never trained on is an exam question that costs nothing,
and every round of exercises brings some of every skill, the mastered ones too. A skill is passed when the median over
its last `window` first visits is at most `gate`; the median, because some answers are wrong. All of this is ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from dsa_ray.curriculum.table import Asked
from dsa_ray.records import Kind, SkillGraph
from dsa_ray.sections import FrontierConfig

_TELLING = frozenset({Kind.EXERCISE, Kind.GIVEN, Kind.VARIANT})
"""Kinds whose first visits tell of their skill; composed, harder and easier ones are of another difficulty."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a skill: `passed`, `regressed`, `recovered` or `opened` (so as not to wait)."""

    skill: str
    what: str


class Frontier:
    """Holds exercises back until their skills' prerequisites are passed. Without a gate nothing is held.

    Args:
        config: the frontier section.
    """

    def __init__(self, config: FrontierConfig) -> None:
        self._config = config
        self._graph: SkillGraph | None = None
        self._needs: dict[str, tuple[str, ...]] = {}
        self._place: dict[str, int] = {}
        self._held: dict[int, tuple[str, ...]] = {}
        self._pending: dict[int, list[tuple[int, str, float]]] = {}
        self._losses: dict[str, deque[float]] = {}
        self._passed: set[str] = set()
        self._regressed: set[str] = set()
        self._opened: set[str] = set()

    @property
    def held(self) -> int:
        """Exercises that wait for a gate."""
        return len(self._held)

    def use(self, graph: SkillGraph, elementary: Collection[str]) -> None:
        """Take the graph as it stands: groups and elementary skills (ids) are never waited for."""
        if graph is self._graph:
            return
        self._graph = graph
        waited = {skill.id for skill in graph.skills if not skill.group}.difference(elementary)
        self._place = {skill.id: place for place, skill in enumerate(graph.skills)}
        needs: dict[str, list[str]] = {}
        for edge in graph.edges:
            if edge.prerequisite in waited:
                needs.setdefault(edge.skill, []).append(edge.prerequisite)
        self._needs = {skill: tuple(found) for skill, found in needs.items()}

    def admit(self, exercise: int, skills: tuple[str, ...]) -> bool:
        """Whether an exercise may be trained on; one that may not is held."""
        if self._config.gate is None or self._is_open(skills):
            return True
        self._held[exercise] = skills
        return False

    def observe(self, step: int, visits: Iterable[tuple[int, Asked, int, float]]) -> None:
        """Losses of real exercises at a step that is not closed yet, as (exercise, what it is, visit, nats)."""
        if self._config.gate is None:
            return
        first = [(id_, it.skills[0], loss) for id_, it, visit, loss in visits if visit == 1 and it.kind in _TELLING]
        self._pending.setdefault(step, []).extend(first)

    def close(self, step: int) -> list[Change]:
        """Every rank has reported the step. What changed, in the order of the exercises' ids."""
        changes = []
        for _, skill, loss in sorted(self._pending.pop(step, ())):
            losses = self._losses.setdefault(skill, deque(maxlen=self._config.window))
            losses.append(loss)
            if len(losses) == self._config.window and (what := self._judge(skill, median(losses))):
                changes.append(Change(skill, what))
        return changes

    def release(self) -> list[int]:
        """The held exercises that may be trained on now; they are held no longer."""
        free = sorted(exercise for exercise, skills in self._held.items() if self._is_open(skills))
        for exercise in free:
            del self._held[exercise]
        return free

    def open_next(self) -> Change | None:
        """Open the first skill in learning order that has held exercises: there is nothing else to train on."""
        closed = {skill for skills in self._held.values() for skill in skills if not self._is_open((skill,), skills)}
        if not closed:
            return None
        skill = min(closed, key=lambda each: (self._place.get(each, len(self._place)), each))
        self._opened.add(skill)
        return Change(skill, "opened")

    def state_dict(self) -> dict[str, Any]:
        return {
            "held": [[exercise, list(skills)] for exercise, skills in self._held.items()],
            "losses": {skill: list(losses) for skill, losses in self._losses.items()},
            **{name: sorted(getattr(self, f"_{name}")) for name in ("passed", "regressed", "opened")},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything by what `state_dict` gave; losses of steps that were not closed come again."""
        self._pending = {}
        self._held = {exercise: tuple(skills) for exercise, skills in state["held"]}
        self._losses = {skill: deque(losses, self._config.window) for skill, losses in state["losses"].items()}
        self._passed, self._regressed = set(state["passed"]), set(state["regressed"])
        self._opened = set(state["opened"])

    def __contains__(self, exercise: int) -> bool:
        return exercise in self._held

    def _is_open(self, skills: Sequence[str], together: Sequence[str] = ()) -> bool:
        """Whether what the skills need is passed, or comes in the same exercise."""
        beside = {*skills, *together}
        return all(
            skill in self._opened or all(need in self._passed or need in beside for need in self._needs.get(skill, ()))
            for skill in skills
        )

    def _judge(self, skill: str, middle: float) -> str:
        gate = self._config.gate or 0.0
        if middle <= gate:
            news = "recovered" if skill in self._regressed else ("" if skill in self._passed else "passed")
            self._passed.add(skill)
            self._regressed.discard(skill)
            return news
        if skill in self._passed and skill not in self._regressed and middle > self._config.regress * gate:
            self._regressed.add(skill)
            return "regressed"
        return ""
