"""Builds a skill graph from a taxonomy (GLAN, arXiv 2402.13064): fields, sub-fields, disciplines, subjects, syllabi.

    target -> fields -> sub-fields -> disciplines -> subjects (asked several times each, the answers are joined)
    subject -> syllabus, a text -> its class sessions -> the key concepts of each session

Subjects become skills that carry their syllabus; everything above them is a group. Within a tier, entries of one name
are one entry, but for subjects: those of different disciplines are kept apart on purpose. What people marked comes
first, and what they removed stays out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dsa_ray.records import Edge, Kind, Prerequisites, Session, Skill, SkillBrief, SkillGraph
from dsa_ray.skills.dropped import Dropped
from dsa_ray.skills.graph import GraphError, build
from dsa_ray.skills.names import match_key, normalise, tidy
from dsa_ray.skills.questions import Question
from dsa_ray.skills.taxonomy_tree import TIERS, Entry

SUBJECT = len(TIERS) - 1
ASKED = (Kind.FIELDS, Kind.SUBFIELDS, Kind.DISCIPLINES, Kind.SUBJECTS, Kind.SYLLABUS)
"""What is asked about an entry of each tier."""
_MAX_DESCRIPTION = 400


class TaxonomyBuild:
    """A taxonomy under construction.

    Args:
        target: the whole, in words.
        max_skills: no more entries than this, groups and the target included.
        queries: how often each discipline is asked for its subjects (GLAN: 10).
        until: the last tier that is filled, one of `TIERS` from `field` on, or `sessions`; so that people can mark a
            first draft.
        given: what people wrote or marked before.

    Raises:
        GraphError: the target has neither a letter nor a digit, or `given` is another target's.
    """

    def __init__(
        self, target: str, max_skills: int, *, queries: int = 1, until: str = "sessions", given: Entry | None = None
    ) -> None:
        self.target = normalise(target)
        if not self.target:
            raise GraphError(f"target {target!r}: has neither a letter nor a digit")
        if given is not None and match_key(given.name) != match_key(target):
            raise GraphError(f"taxonomy: it is of {given.name!r:.80}, and graph.target is {target!r:.80}")
        self._max_skills, self._queries = max_skills, queries
        self._last = SUBJECT + 1 if until == "sessions" else TIERS.index(until)
        self._skills: dict[str, Skill] = {}
        self._tier: dict[str, int] = {}
        self._path: dict[str, tuple[str, ...]] = {}
        self._keys: dict[tuple[int, str], str] = {}
        self._edges: dict[tuple[str, str], Edge] = {}
        self._removed: set[tuple[int, str]] = set()
        self._syllabus: dict[str, int] = {}
        self._new: list[Question] = []
        self._open: Counter[tuple[Kind, str]] = Counter()
        self._dropped: dict[str, Dropped] = {}
        self._add(Skill(id=self.target, name=tidy(target), source="target", group=True), match_key(target), 0, None)
        self._give(self.target, given or Entry(name=target))

    @property
    def done(self) -> bool:
        return not self._open

    @property
    def faults(self) -> list[str]:
        return [line for dropped in self._dropped.values() for line in dropped.lines()]

    def questions(self) -> list[Question]:
        new, self._new = self._new, []
        return new

    def expect(self, skills: Sequence[str]) -> None:
        """Subjects have ids with their disciplines, whatever exercises there are."""

    def take(self, kind: Kind, answer: Prerequisites, request: int, generator: str) -> None:
        """An answer to a question that is open; others change nothing."""
        skill = answer.skill
        if not self._close(kind, skill):
            return
        if kind is Kind.SYLLABUS:
            self._syllabus[skill] = request
            self._ask(Kind.SESSIONS, skill)
        elif kind is Kind.SESSIONS:
            self._take_sessions(skill, answer)
        elif kind is Kind.CONCEPTS:
            self._take_concepts(skill, answer)
        else:
            for name, about in answer.names:
                self._propose(skill, name, about, {"request": request, "generator": generator})

    def fail(self, kind: Kind, skill: str) -> None:
        if self._close(kind, skill):
            self._lost(skill).add("questions without a usable answer", kind.value)

    def graph(self) -> SkillGraph:
        return build(self.target, self._skills.values(), self._edges.values())

    def _give(self, skill: str, entry: Entry) -> None:
        """Take in what people wrote below an entry, then ask for what they left open."""
        tier = self._tier[skill]
        for child in entry.below or ():
            if not child.keep:
                self._removed.add((tier + 1, match_key(child.name)))
        for child in entry.below or ():
            if not child.keep:
                continue
            id = self._propose(skill, child.name, child.about, {"source": "hand"}, given=True)
            if id is not None:
                self._give(id, child)
        if entry.sessions is not None:
            self._skills[skill] = dataclasses.replace(self._skills[skill], sessions=entry.sessions)
        elif entry.below is None:
            self._ask_about(skill)

    def _ask_about(self, skill: str) -> None:
        tier = self._tier[skill]
        if tier < self._last:
            for nth in range(self._queries if tier == SUBJECT - 1 else 1):
                self._ask(ASKED[tier], skill, nth)

    def _ask(self, kind: Kind, skill: str, nth: int = 0) -> None:
        self._open[kind, skill] += 1
        parents = (self._syllabus[skill],) if kind in (Kind.SESSIONS, Kind.CONCEPTS) else ()
        self._new.append(Question(kind=kind, brief=self._brief(skill), nth=nth, parents=parents))

    def _close(self, kind: Kind, skill: str) -> bool:
        if (kind, skill) not in self._open:
            return False
        self._open[kind, skill] -= 1
        if not self._open[kind, skill]:
            del self._open[kind, skill]
        return True

    def _propose(self, parent: str, name: str, about: str, origin: dict[str, Any], given: bool = False) -> str | None:
        """Put a name below an entry. Returns the id of a new entry, and asks about it unless people gave it."""
        tier, key = self._tier[parent] + 1, match_key(name)
        if not key:
            self._lost(parent).add("without a letter or digit", name)
            return None
        if (tier, key) in self._removed:
            self._lost(parent).add("removed by hand", name)
            return None
        place = (tier, f"{parent}/{key}" if tier == SUBJECT else key)
        known = self._keys.get(place)
        if known is None:
            if len(self._skills) >= self._max_skills:
                self._lost(parent).add(f"beyond the limit of {self._max_skills} skills", name)
                return None
            known = self._new_id(name, parent, tier)
            skill = Skill(
                id=known,
                name=tidy(name),
                description=" ".join(about.split())[:_MAX_DESCRIPTION],
                found_from=parent,
                group=tier < SUBJECT,
                **{"source": "taxonomy", **origin},
            )
            self._add(skill, place[1], tier, parent)
            self._edges[known, parent] = Edge(prerequisite=known, skill=parent, **{"source": "taxonomy", **origin})
            if not given:
                self._ask_about(known)
            return known
        self._again(known, parent, origin)
        return None

    def _again(self, skill: str, parent: str, origin: dict[str, Any]) -> None:
        """It was proposed before, here or below another entry of this tier."""
        known = self._skills[skill]
        self._skills[skill] = dataclasses.replace(known, proposals=known.proposals + 1)
        edge = self._edges.get((skill, parent))
        if edge is None:
            edge = Edge(prerequisite=skill, skill=parent, **{"source": "taxonomy", **origin})
        else:
            edge = dataclasses.replace(edge, proposals=edge.proposals + 1)
        self._edges[skill, parent] = edge

    def _add(self, skill: Skill, key: str, tier: int, parent: str | None) -> None:
        self._skills[skill.id] = skill
        self._tier[skill.id] = tier
        self._keys[tier, key] = skill.id
        self._path[skill.id] = () if parent is None else (self._skills[parent].name, *self._path[parent])

    def _new_id(self, name: str, parent: str, tier: int) -> str:
        """The name; with its discipline where it is a subject's, with its tier where another tier has it."""
        wanted = normalise(f"{parent} {name}") if tier == SUBJECT else normalise(name)
        if wanted in self._skills:
            wanted = normalise(f"{name} {TIERS[tier]}")
        number, id = 2, wanted
        while id in self._skills:
            id, number = f"{wanted}-{number}", number + 1
        return id

    def _take_sessions(self, skill: str, answer: Prerequisites) -> None:
        sessions: dict[str, Session] = {}
        for name, about in answer.names:
            if match_key(name):
                sessions.setdefault(match_key(name), Session(name=name, description=about))
        if not sessions:
            self._lost(skill).add("syllabi without a class session", skill)
            return
        known = dataclasses.replace(self._skills[skill], sessions=tuple(sessions.values()))
        self._skills[skill] = known
        self._ask(Kind.CONCEPTS, skill)

    def _take_concepts(self, skill: str, answer: Prerequisites) -> None:
        known = self._skills[skill]
        places = {match_key(session.name): place for place, session in enumerate(known.sessions)}
        concepts: list[dict[str, str]] = [{} for _ in known.sessions]
        for name, session in answer.names:
            place = places.get(match_key(session))
            if place is None or not match_key(name):
                self._lost(skill).add("key concepts of no session", name)
            else:
                concepts[place].setdefault(match_key(name), name)
        sessions = tuple(
            dataclasses.replace(session, concepts=tuple(found.values()))
            for session, found in zip(known.sessions, concepts, strict=True)
        )
        self._skills[skill] = dataclasses.replace(known, sessions=sessions)

    def _brief(self, skill: str) -> SkillBrief:
        known = self._skills[skill]
        return SkillBrief(
            id=known.id,
            name=known.name,
            description=known.description,
            sessions=known.sessions,
            part_of=self._path[skill],
        )

    def _lost(self, skill: str) -> Dropped:
        if skill not in self._dropped:
            self._dropped[skill] = Dropped(skill)
        return self._dropped[skill]
