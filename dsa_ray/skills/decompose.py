"""Builds the skill graph by asking which skills are needed before a skill, breadth-first (DSA, arXiv 2412.19361).

Published is only that the teacher is asked recursively. Ours: breadth-first; a skill that is there already, is
elementary or lies `max_depth` steps below the target is not asked about; nodes merge by `match_key`; an edge that
closes a cycle is dropped, the later-found one.

Answers may arrive in any order. They are taken in the order in which their skills were found, so the graph depends on
what the teacher said and not on who said it first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import networkx as nx

from dsa_ray.records import Edge, Prerequisites, Skill, SkillBrief, SkillGraph
from dsa_ray.skills.graph import GraphError, build
from dsa_ray.skills.names import match_key, normalise, tidy

_EXAMPLES = 3
_MAX_DESCRIPTION = 400


class Decomposition:
    """A decomposition under way: what to ask next, what was answered, the graph so far.

    Args:
        target: the skill to teach, in words.
        max_depth: a skill this many steps below the target is not asked about.
        max_skills: no more skills than this, the target included; edges between known skills are still added.
        elementary: names of skills that are never asked about (the target always is).

    Raises:
        GraphError: the target has neither a letter nor a digit.
    """

    def __init__(self, target: str, max_depth: int, max_skills: int, elementary: Sequence[str] = ()) -> None:
        self._max_depth = max_depth
        self._max_skills = max_skills
        self._elementary = {match_key(name): name for name in elementary if match_key(name)}
        self._ids: dict[str, str] = {}
        self._skills: dict[str, Skill] = {}
        self._depth: dict[str, int] = {}
        self._network = nx.DiGraph()
        self._queue: deque[str] = deque()
        self._answers: dict[str, tuple[tuple[str, str], ...] | None] = {}
        self.faults: list[str] = []
        """What was dropped, merged or cut, in the order found; one line per skill and kind of fault."""
        self.target = normalise(target)
        if not self.target:
            raise GraphError(f"target {target!r}: has neither a letter nor a digit")
        self._add(Skill(id=self.target, name=tidy(target), source="target"), match_key(target), depth=0)

    @property
    def done(self) -> bool:
        """Nothing is left to ask."""
        return not self._queue

    def pending(self) -> list[SkillBrief]:
        """The skills to ask about now, in the order found. Repeated until answered or given up."""
        waiting = [self._skills[skill] for skill in self._queue if skill not in self._answers]
        return [SkillBrief(id=skill.id, name=skill.name, description=skill.description) for skill in waiting]

    def accept(self, prerequisites: Prerequisites) -> None:
        """Take an answer. The first one for a skill counts; later ones, or one after `give_up`, change nothing."""
        self._answer(prerequisites.skill, prerequisites.names)

    def give_up(self, skill: str) -> None:
        """The teacher failed at this skill: it becomes a leaf. No effect if it was answered."""
        self._answer(skill, None)

    def graph(self) -> SkillGraph:
        """The graph so far; whole once `done`."""
        edges = (Edge(prerequisite=before, skill=after) for before, after in self._network.edges)
        return build(self.target, self._skills.values(), edges)

    def state_dict(self) -> dict[str, Any]:
        """All state, as JSON types."""
        return {
            "target": self.target,
            "skills": [[asdict(skill), self._depth[skill.id]] for skill in self._skills.values()],
            "ids": dict(self._ids),
            "edges": [list(edge) for edge in self._network.edges],
            "queue": list(self._queue),
            "answers": {
                skill: names if names is None else [list(pair) for pair in names]
                for skill, names in self._answers.items()
            },
            "faults": list(self.faults),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; the limits are this object's own. Raises `GraphError` for another target's state."""
        if state["target"] != self.target:
            raise GraphError(f"decomposition: the state is of {state['target']!r}, not of {self.target!r}")
        self._skills = {fields["id"]: Skill(**fields) for fields, _ in state["skills"]}
        self._depth = {fields["id"]: depth for fields, depth in state["skills"]}
        self._ids = dict(state["ids"])
        self._network = nx.DiGraph()
        self._network.add_nodes_from(self._skills)
        self._network.add_edges_from(state["edges"])
        self._queue = deque(state["queue"])
        self._answers = {
            skill: None if names is None else tuple((name, text) for name, text in names)
            for skill, names in state["answers"].items()
        }
        self.faults = list(state["faults"])

    def _answer(self, skill: str, names: tuple[tuple[str, str], ...] | None) -> None:
        self._answers.setdefault(skill, names)
        while self._queue and self._queue[0] in self._answers:
            first = self._queue.popleft()
            answer = self._answers[first]
            self._answers[first] = None  # taken: only that it was answered is still of use
            if answer is None:
                self.faults.append(f"{first}: the teacher gave no usable answer, so it has no prerequisites")
            else:
                self._take(first, answer)

    def _take(self, skill: str, names: tuple[tuple[str, str], ...]) -> None:
        """Add the prerequisites of one skill: its new skills and edges."""
        dropped = _Dropped(skill)
        builds_on_skill: set[str] | None = None
        for name, description in names:
            before = self._resolve(name, description, dropped)
            if before is None:
                continue
            if before == dropped.skill:
                dropped.add("the skill itself", name)
                continue
            if self._network.in_degree(before):  # only then can it build on `skill`
                if builds_on_skill is None:
                    builds_on_skill = nx.descendants(self._network, skill)
                if before in builds_on_skill:
                    dropped.add("closing a cycle", name)
                    continue
            self._network.add_edge(before, skill)
        self.faults += dropped.lines()

    def _resolve(self, name: str, description: str, dropped: _Dropped) -> str | None:
        """The id of a named skill, new or known; None if the name is empty or the graph is full."""
        key = match_key(name)
        if not key:
            dropped.add("without a letter or digit", name)
            return None
        if key in self._ids:
            known = self._ids[key]
            if normalise(name) != known:
                dropped.add("merged, other spellings of known skills", f"{tidy(name)} = {known}")
            return known
        if len(self._skills) >= self._max_skills:
            dropped.add(f"beyond the limit of {self._max_skills} skills", name)
            return None
        name = self._elementary.get(key, name)
        text = " ".join(description.split())[:_MAX_DESCRIPTION]
        skill = Skill(id=normalise(name), name=tidy(name), description=text, found_from=dropped.skill)
        self._add(skill, key, depth=self._depth[dropped.skill] + 1)
        return skill.id

    def _add(self, skill: Skill, key: str, depth: int) -> None:
        self._ids[key] = skill.id
        self._skills[skill.id] = skill
        self._depth[skill.id] = depth
        self._network.add_node(skill.id)
        if depth < self._max_depth and (depth == 0 or key not in self._elementary):
            self._queue.append(skill.id)


class _Dropped:
    """Counts what one answer lost, by reason, with a few examples: bounded, however long the answer."""

    def __init__(self, skill: str) -> None:
        self.skill = skill
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES and tidy(name)[:60] not in examples:
            examples.append(tidy(name)[:60])

    def lines(self) -> list[str]:
        return [
            f"{self.skill}: {count} {reason} ({', '.join(self._examples[reason])})"
            for reason, count in self._counts.items()
        ]
