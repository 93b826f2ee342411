"""Builds the skill graph by asking which skills are needed before a skill, breadth-first (DSA, arXiv 2412.19361).

Published is that human syllabi and a teacher that is asked recursively are merged. Ours: breadth-first; a skill that
is there already, is elementary or lies `max_depth` steps below the target is not asked about; nodes merge by
`match_key`, and by similarity where that is wanted; edges that contradict each other are resolved by evidence once
all are known (`skills.cycles`).

Answers may arrive in any order. They are taken in the order in which their skills were found, so the graph depends on
what the teacher said and not on who said it first.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from typing import Any

import networkx as nx

from dsa_ray.records import Edge, Kind, Prerequisites, Skill, SkillBrief, SkillGraph
from dsa_ray.skills.dropped import Dropped
from dsa_ray.skills.graph import GraphError
from dsa_ray.skills.names import match_key, normalise, tidy
from dsa_ray.skills.questions import Answer, Question
from dsa_ray.skills.rows import edge_from_row, edge_row, skill_from_row, skill_row
from dsa_ray.skills.settle import settle
from dsa_ray.skills.similar import Similar

_MAX_DESCRIPTION = 400


class Decomposition:
    """A decomposition under way: what to ask next, what was answered, the graph so far.

    Args:
        target: the skill to teach, in words.
        max_depth: a skill this many steps below the target is not asked about.
        max_skills: no more skills than this, the target included; edges between known skills are still added.
        elementary: names of skills that are never asked about (the target always is).
        queries: how often each skill is asked about; what is named more often has more evidence.
        similar: tells which known skill a new name means; without, names have to be equal but for their spelling.

    Raises:
        GraphError: the target has neither a letter nor a digit.
    """

    def __init__(
        self,
        target: str,
        max_depth: int,
        max_skills: int,
        elementary: Sequence[str] = (),
        *,
        queries: int = 1,
        similar: Similar | None = None,
    ) -> None:
        self._max_depth = max_depth
        self._max_skills = max_skills
        self._queries = queries
        self._similar = similar
        self._elementary = {match_key(name): name for name in elementary if match_key(name)}
        self._expected: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._skills: dict[str, Skill] = {}
        self._depth: dict[str, int] = {}
        self._edges: dict[tuple[str, str], Edge] = {}
        self._queue: deque[str] = deque()
        self._queued: list[str] = []
        self._asked = 0
        self._answers: dict[str, list[Answer | None]] = {}
        self._faults: list[str] = []
        self._resolved: tuple[SkillGraph, list[str]] | None = None
        self.target = normalise(target)
        if not self.target:
            raise GraphError(f"target {target!r}: has neither a letter nor a digit")
        self._add(Skill(id=self.target, name=tidy(target), source="target"), match_key(target), depth=0)

    @property
    def done(self) -> bool:
        """Nothing is left to ask."""
        return not self._queue

    @property
    def faults(self) -> list[str]:
        """What was dropped, merged or cut, in the order found; one line per skill and kind of fault."""
        return self._faults + (self._whole()[1] if self.done else [])

    def start_from(self, graph: SkillGraph, ask: bool) -> None:
        """Take in what a syllabus or a file says, before anything is asked.

        Its target is this one's. Edges keep their evidence, and levels the graph's own order.

        Args:
            graph: `skills` beyond the limit are left out, and told.
            ask: the teacher is asked about all its skills; otherwise only about those without prerequisites.
        """
        dropped = Dropped(graph.target)
        places, taken = {graph.target: self.target}, {self.target}
        steps = _steps_to(graph)
        needing = {edge.skill for edge in graph.edges}
        if not ask and graph.target in needing:
            self._leave_out(self.target)
        for skill in sorted(graph.skills, key=lambda each: steps.get(each.id, self._max_depth)):
            if skill.id == graph.target:
                self._describe(skill)
                continue
            key = match_key(skill.name)
            # Of one name with another of this graph: they are apart there, and stay so.
            known = None if self._ids.get(key) in taken else self._known(skill.name, key, dropped)
            if known is None:
                if len(self._skills) >= self._max_skills:
                    dropped.add(f"beyond the limit of {self._max_skills} skills", skill.name)
                    continue
                depth = steps.get(skill.id, self._max_depth)
                wanted = ask or skill.id not in needing
                self._add(skill, key, depth if wanted else self._max_depth)
                known = skill.id
                self._depth[known] = depth
            places[skill.id] = known
            taken.add(known)
        for edge in graph.edges:
            if edge.prerequisite in places and edge.skill in places:
                before, after = places[edge.prerequisite], places[edge.skill]
                if before != after:
                    self._edges[before, after] = dataclasses.replace(edge, prerequisite=before, skill=after)
        self._faults += dropped.lines()

    def pending(self) -> list[SkillBrief]:
        """The skills to ask about now, in the order found. Repeated until answered or given up."""
        return [self._brief(skill) for skill in self._queue if len(self._answers.get(skill, ())) < self._queries]

    def questions(self) -> list[Question]:
        """What came up since the last call, each `queries` times, answered meanwhile or not."""
        new, self._asked = self._queued[self._asked :], len(self._queued)
        return [
            Question(kind=Kind.PREREQUISITES, brief=self._brief(skill), nth=nth)
            for skill in new
            for nth in range(self._queries)
        ]

    def accept(self, prerequisites: Prerequisites, request: int | None = None, generator: str = "") -> None:
        """Take an answer. The first `queries` ones for a skill count; later ones change nothing.

        Args:
            prerequisites: the answer.
            request, generator: where it comes from, for the provenance of what it adds.
        """
        self._answer(prerequisites.skill, Answer(prerequisites.names, request, generator))

    def give_up(self, skill: str) -> None:
        """The teacher failed at this skill: without other answers it becomes a leaf."""
        self._answer(skill, None)

    def expect(self, skills: Sequence[str]) -> None:
        """Ids that skills of other spellings are to have when they are named."""
        self._expected |= {match_key(skill): skill for skill in skills if skill not in self._skills}

    def take(self, kind: Kind, answer: Prerequisites, request: int, generator: str) -> None:
        """`accept`, as any construction of a graph does it."""
        self.accept(answer, request, generator)

    def fail(self, kind: Kind, skill: str) -> None:
        """`give_up`, as any construction of a graph does it."""
        self.give_up(skill)

    def graph(self) -> SkillGraph:
        """The graph so far; whole once `done`."""
        return self._whole()[0]

    def state_dict(self) -> dict[str, Any]:
        """All state, as JSON types."""
        return {
            "target": self.target,
            "skills": [[skill_row(skill), self._depth[skill.id]] for skill in self._skills.values()],
            "ids": dict(self._ids),
            "edges": [edge_row(edge) for edge in self._edges.values()],
            "queue": list(self._queue),
            "queued": list(self._queued),
            "asked": self._asked,
            "answers": {
                skill: [None if answer is None else answer.row() for answer in answers]
                for skill, answers in self._answers.items()
            },
            "faults": list(self._faults),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; the limits are this object's own. Raises `GraphError` for another target's state."""
        if state["target"] != self.target:
            raise GraphError(f"decomposition: the state is of {state['target']!r}, not of {self.target!r}")
        self._skills = {row["id"]: skill_from_row(row) for row, _ in state["skills"]}
        self._depth = {row["id"]: depth for row, depth in state["skills"]}
        self._ids = dict(state["ids"])
        edges = [edge_from_row(row) for row in state["edges"]]
        self._edges = {(edge.prerequisite, edge.skill): edge for edge in edges}
        self._queue, self._queued, self._asked = deque(state["queue"]), list(state["queued"]), state["asked"]
        self._answers = {
            skill: [None if row is None else Answer.from_row(row) for row in rows]
            for skill, rows in state["answers"].items()
        }
        self._faults = list(state["faults"])
        self._resolved = None
        if self._similar is not None:
            for skill in self._skills.values():
                self._similar.add(skill.name, skill.id)

    def _answer(self, skill: str, answer: Answer | None) -> None:
        answers = self._answers.setdefault(skill, [])
        if len(answers) < self._queries:
            answers.append(answer)
        while self._queue and len(self._answers.get(self._queue[0], ())) >= self._queries:
            first = self._queue.popleft()
            usable = [each for each in self._answers[first] if each is not None]
            self._answers[first] = [None] * self._queries  # taken: only that it was answered is still of use
            if not usable:
                self._faults.append(f"{first}: the teacher gave no usable answer, so it has no prerequisites")
            for each in sorted(usable, key=Answer.order):
                self._take(first, each)
            self._resolved = None

    def _take(self, skill: str, answer: Answer) -> None:
        """Add the prerequisites of one skill: its new skills and edges. An answer is one proposal of each."""
        dropped = Dropped(skill)
        named: dict[str, None] = {}
        for name, description in answer.names:
            before = self._resolve(name, description, answer, dropped)
            if before == skill:
                dropped.add("the skill itself", name)
            elif before is not None:
                named[before] = None
        for before in named:
            self._propose(before, skill, answer)
        self._faults += dropped.lines()

    def _propose(self, before: str, skill: str, answer: Answer) -> None:
        edge = self._edges.get((before, skill))
        if edge is None:
            edge = Edge(prerequisite=before, skill=skill, request=answer.request, generator=answer.generator)
        else:
            edge = dataclasses.replace(edge, proposals=edge.proposals + 1)
        self._edges[before, skill] = edge
        known = self._skills[before]
        self._skills[before] = dataclasses.replace(known, proposals=known.proposals + 1)

    def _resolve(self, name: str, description: str, answer: Answer, dropped: Dropped) -> str | None:
        """The id of a named skill, new or known; None if the name is empty or the graph is full."""
        key = match_key(name)
        if not key:
            dropped.add("without a letter or digit", name)
            return None
        known = self._known(name, key, dropped)
        if known is not None:
            return known
        if len(self._skills) >= self._max_skills:
            dropped.add(f"beyond the limit of {self._max_skills} skills", name)
            return None
        name = self._elementary.get(key, name)
        skill = Skill(
            id=self._expected.get(key, normalise(name)),
            name=tidy(name),
            description=" ".join(description.split())[:_MAX_DESCRIPTION],
            found_from=dropped.skill,
            request=answer.request,
            generator=answer.generator,
            proposals=0,
        )
        self._add(skill, key, depth=self._depth[dropped.skill] + 1)
        return skill.id

    def _known(self, name: str, key: str, dropped: Dropped) -> str | None:
        """The skill that a name means, if there is one already."""
        if key in self._ids:
            known = self._ids[key]
            if normalise(name) != known:
                dropped.add("merged, other spellings of known skills", f"{tidy(name)} = {known}")
            return known
        if self._similar is not None and key not in self._elementary:
            found = self._similar.find(name)
            if found is not None:
                dropped.add("merged, similar to known skills", f"{tidy(name)} = {found}")
                self._ids[key] = found
                return found
        return None

    def _add(self, skill: Skill, key: str, depth: int) -> None:
        self._ids.setdefault(key, skill.id)
        self._skills[skill.id] = skill
        self._depth[skill.id] = depth
        if self._similar is not None:
            self._similar.add(skill.name, skill.id)
        if depth < self._max_depth and (depth == 0 or key not in self._elementary):
            self._queue.append(skill.id)
            self._queued.append(skill.id)

    def _leave_out(self, skill: str) -> None:
        self._queue.remove(skill)
        self._queued.remove(skill)

    def _describe(self, skill: Skill) -> None:
        known = self._skills[self.target]
        self._skills[self.target] = dataclasses.replace(known, description=skill.description)

    def _brief(self, skill: str) -> SkillBrief:
        known = self._skills[skill]
        return SkillBrief(id=known.id, name=known.name, description=known.description)

    def _whole(self) -> tuple[SkillGraph, list[str]]:
        """The graph and what its contradictions cost."""
        if self._resolved is None:
            skills = [dataclasses.replace(s, proposals=max(1, s.proposals)) for s in self._skills.values()]
            self._resolved = settle(self.target, skills, list(self._edges.values()))
        return self._resolved


def _steps_to(graph: SkillGraph) -> dict[str, int]:
    """Fewest steps from each skill to the target."""
    network = nx.DiGraph((edge.skill, edge.prerequisite) for edge in graph.edges)
    network.add_node(graph.target)
    return dict(nx.single_source_shortest_path_length(network, graph.target))
