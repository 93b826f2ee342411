"""Two versions of a graph: what differs, and what they are together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from dsa_ray.records import Edge, Skill, SkillGraph
from dsa_ray.skills.cycles import resolve
from dsa_ray.skills.graph import GraphError, apart, build, headings, orphans
from dsa_ray.skills.names import match_key

_COMPARED = ("name", "description", "level", "group", "sessions")
"""What makes a skill another one; provenance does not."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDiff:
    """What the second of two graphs has otherwise than the first; ids in learning order."""

    target: Pair | None = None
    """(old, new) where it differs."""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    """(skill, what differs: "name 'a' -> 'b'")."""
    edges_added: tuple[Pair, ...] = ()
    """(prerequisite, skill) pairs."""
    edges_removed: tuple[Pair, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in dataclasses.fields(self))

    def lines(self) -> list[str]:
        """For people: + added, - removed, ~ changed."""
        lines = [f"~ target {self.target[0]} -> {self.target[1]}"] if self.target else []
        lines += [f"+ {skill}" for skill in self.added] + [f"- {skill}" for skill in self.removed]
        lines += [f"~ {skill}: {what}" for skill, what in self.changed]
        lines += [f"+ {before} -> {after}" for before, after in self.edges_added]
        return lines + [f"- {before} -> {after}" for before, after in self.edges_removed]


def diff(old: SkillGraph, new: SkillGraph) -> GraphDiff:
    """What changed from `old` to `new`. Skills are compared by id, edges by their ends."""
    before = {skill.id: skill for skill in old.skills}
    after = {skill.id: skill for skill in new.skills}
    old_pairs, new_pairs = _pairs(old.edges), _pairs(new.edges)
    return GraphDiff(
        target=None if old.target == new.target else (old.target, new.target),
        added=tuple(skill for skill in after if skill not in before),
        removed=tuple(skill for skill in before if skill not in after),
        changed=tuple(
            (skill, what) for skill in after if skill in before if (what := _changes(before[skill], after[skill]))
        ),
        edges_added=tuple(pair for pair in new_pairs if pair not in old_pairs),
        edges_removed=tuple(pair for pair in old_pairs if pair not in new_pairs),
    )


def merge(ours: SkillGraph, theirs: SkillGraph) -> tuple[SkillGraph, list[str]]:
    """Both graphs together, with the first one's words, and what had to be decided, one line each.

    The target is the first one's, or, where that is but a prerequisite in the second, the second one's.

    A skill of the second is one of the first if their ids or the keys of their names (`names.match_key`) are equal and
    they are not `graph.apart`.
    The same edge keeps the greater evidence; edges that contradict each other are resolved by it.

    Raises:
        GraphError: the second graph's target is not in the first, and the first one's is not in the second: the
            union would not lead to one target.
    """
    places, notes = _same_skills(ours, theirs)
    skills = {skill.id: skill for skill in ours.skills}
    target = ours.target
    if places[theirs.target] not in skills:
        if target not in places.values():
            raise GraphError(f"{theirs.target}: the graphs have different targets, and neither holds the other's")
        target = places[theirs.target]
        notes.append(f"{target}: the target from now on, {ours.target} is needed for it")
    for skill in theirs.skills:
        known = skills.get(places[skill.id])
        skills[places[skill.id]] = skill if known is None else _both(known, skill)
    edges: dict[Pair, Edge] = {(edge.prerequisite, edge.skill): edge for edge in ours.edges}
    for edge in theirs.edges:
        pair = places[edge.prerequisite], places[edge.skill]
        if pair[0] == pair[1]:
            continue
        moved = dataclasses.replace(edge, prerequisite=pair[0], skill=pair[1])
        known_edge = edges.get(pair)
        if known_edge is None or moved.proposals > known_edge.proposals:
            edges[pair] = moved
    kept, dropped = resolve(list(edges.values()))
    notes += [
        f"{edge.prerequisite} -> {edge.skill}: dropped, it closes a cycle with stronger edges" for edge in dropped
    ]
    merged = build(target, skills.values(), kept)
    return merged, [*notes, *orphans(merged)]


def _same_skills(ours: SkillGraph, theirs: SkillGraph) -> tuple[dict[str, str], list[str]]:
    """Id in theirs -> id in the union."""
    ids = {skill.id for skill in ours.skills}
    named: dict[str, list[Skill]] = {}
    for skill in ours.skills:
        named.setdefault(match_key(skill.name), []).append(skill)
    above, places = headings(theirs), {}
    over = headings(ours)
    for skill in reversed(theirs.skills):  # headings come before what lies below them
        places[skill.id] = skill.id
        if skill.id in ids or not match_key(skill.name):
            continue
        over[skill.id] = frozenset(places[heading] for heading in above.get(skill.id, ()))
        same = [known for known in named.get(match_key(skill.name), ()) if not apart(known, skill, over)]
        if same:
            places[skill.id] = same[-1].id
    taken = [(skill.id, places[skill.id]) for skill in theirs.skills if places[skill.id] != skill.id]
    return places, [f"{id}: taken for {same}, another spelling" for id, same in taken]


def _both(ours: Skill, theirs: Skill) -> Skill:
    return dataclasses.replace(
        ours,
        description=ours.description or theirs.description,
        sessions=ours.sessions or theirs.sessions,
        proposals=max(ours.proposals, theirs.proposals),
    )


def _changes(old: Skill, new: Skill) -> str:
    changes = []
    for name in _COMPARED:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            shown = f"{len(before)} -> {len(after)}" if name == "sessions" else f"{before!r} -> {after!r}"
            changes.append(f"{name} {shown}")
    return ", ".join(changes)


def _pairs(edges: Iterable[Edge]) -> dict[Pair, None]:
    return dict.fromkeys((edge.prerequisite, edge.skill) for edge in edges)
