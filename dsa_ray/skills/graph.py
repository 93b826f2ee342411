"""The skill graph as a value: built and checked once, then only read; and as node-link JSON, what graph.json holds.

The level of a skill is its longest path from a skill without prerequisites; the learning order goes by level, then by
name. Both are ours: DSA (arXiv 2412.19361) is known to go from lower skills to higher ones, no more.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import networkx as nx

from dsa_ray.records import Edge, Skill, SkillBrief, SkillGraph
from dsa_ray.skills.names import Names, match_key
from dsa_ray.skills.order import Network
from dsa_ray.skills.rows import edge_from_row, edge_row, skill_from_row, skill_row, text

_SKILL_FIELDS = frozenset(field.name for field in dataclasses.fields(Skill))


class GraphError(Exception):
    """Something that is no skill graph: one line that says why."""


def build(target: str, skills: Iterable[Skill], edges: Iterable[Edge]) -> SkillGraph:
    """A skill graph with levels, in learning order. Levels given in `skills` are replaced.

    Args:
        target: id of the skill that the run teaches.
        skills: each id once, in any order.
        edges: each pair once, both ends among `skills`.

    Raises:
        GraphError: a duplicate or empty id, a duplicate edge, an unknown id, a cycle.
    """
    skills, edges = tuple(skills), tuple(edges)
    faults = _reference_faults(target, skills, edges)
    if faults:
        raise GraphError(faults[0])
    found = _levels(skills, edges)
    placed = sorted((dataclasses.replace(skill, level=found[skill.id]) for skill in skills), key=_order)
    place = {skill.id: number for number, skill in enumerate(placed)}
    return SkillGraph(
        target=target,
        skills=tuple(placed),
        edges=tuple(sorted(edges, key=lambda edge: (place[edge.skill], place[edge.prerequisite]))),
    )


def learning_order(graph: SkillGraph) -> tuple[str, ...]:
    """Skill ids by level, then name: every skill comes after all its prerequisites."""
    return tuple(skill.id for skill in graph.skills)


def levels(graph: SkillGraph) -> dict[str, int]:
    """Level of every skill id, in learning order."""
    return {skill.id: skill.level for skill in graph.skills}


def prerequisites(graph: SkillGraph) -> dict[str, tuple[str, ...]]:
    """Direct prerequisites of every skill, in learning order."""
    found: dict[str, list[str]] = {skill.id: [] for skill in graph.skills}
    for edge in graph.edges:
        found[edge.skill].append(edge.prerequisite)
    return {skill: tuple(ids) for skill, ids in found.items()}


def prerequisites_of(graph: SkillGraph, skill: str) -> tuple[str, ...]:
    """Direct prerequisites of one skill, in learning order. Raises `GraphError` for an unknown id."""
    _known(graph, skill)
    return tuple(edge.prerequisite for edge in graph.edges if edge.skill == skill)


def dependants_of(graph: SkillGraph, skill: str) -> tuple[str, ...]:
    """Skills that need this one directly, in learning order. Raises `GraphError` for an unknown id."""
    _known(graph, skill)
    return tuple(edge.skill for edge in graph.edges if edge.prerequisite == skill)


def ancestors_of(graph: SkillGraph, skill: str) -> tuple[str, ...]:
    """All skills that have to be learned before this one, in learning order. Raises `GraphError` for an unknown id."""
    _known(graph, skill)
    return _in_order(graph, nx.ancestors(to_networkx(graph), skill))


def descendants_of(graph: SkillGraph, skill: str) -> tuple[str, ...]:
    """All skills that build on this one, in learning order. Raises `GraphError` for an unknown id."""
    _known(graph, skill)
    return _in_order(graph, nx.descendants(to_networkx(graph), skill))


def names_of(graph: SkillGraph, groups: bool = False) -> Names:
    """Finds the skills of a graph by what people call them; its headings only with `groups`."""
    return Names((skill.id, skill.name) for skill in graph.skills if groups or not skill.group)


def briefs(graph: SkillGraph) -> dict[str, SkillBrief]:
    """What prompts say of each skill, in learning order."""
    names = {skill.id: skill.name for skill in graph.skills}
    before = prerequisites(graph)
    return {
        skill.id: SkillBrief(
            id=skill.id,
            name=skill.name,
            description=skill.description,
            prerequisites=tuple(names[prerequisite] for prerequisite in before[skill.id]),
            level=skill.level,
            sessions=skill.sessions,
        )
        for skill in graph.skills
    }


def to_networkx(graph: SkillGraph) -> nx.DiGraph:
    """A directed graph of skill ids; edges lead from a prerequisite to the skill that needs it."""
    return _network(graph.skills, graph.edges)


def check(graph: SkillGraph) -> list[str]:
    """Everything that is wrong with a graph, one line each; empty if it is sound.

    Broken references (duplicates, unknown ids), cycles, orphans (skills that the target does not need), skills
    without a name, names that are one skill in two spellings (unless they are `apart`), levels and order that do not
    follow from the edges.
    """
    faults = _reference_faults(graph.target, graph.skills, graph.edges)
    if faults:
        return faults
    arrays = Network((skill.id for skill in graph.skills), _pairs(graph.edges))
    found = arrays.levels()
    if len(found) < len(graph.skills):
        return _cycle_faults(to_networkx(graph))
    faults = [f"{skill.id}: has no name" for skill in graph.skills if not skill.name.strip()]
    faults += _spelling_faults(graph)
    return faults + _orphan_faults(graph, arrays) + _order_faults(graph, found)


def orphans(graph: SkillGraph) -> list[str]:
    """Skills of a graph without cycles that its target does not need, one line each."""
    return _orphan_faults(graph, Network((skill.id for skill in graph.skills), _pairs(graph.edges)))


def _orphan_faults(graph: SkillGraph, arrays: Network) -> list[str]:
    needed = arrays.ancestors(graph.target) | {graph.target}
    return [f"{skill.id}: orphan, {graph.target} does not need it" for skill in graph.skills if skill.id not in needed]


def to_node_link(graph: SkillGraph, extra: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """A JSON-able dictionary with level and provenance per node, provenance per edge, and the caller's fields.

    Args:
        graph: the graph.
        extra: fields to add to nodes, by skill id, such as mastery: `{"limit": {"accuracy": 0.9}}`.

    Raises:
        GraphError: `extra` names an unknown skill or a field that the node has already.
    """
    extra = extra or {}
    unknown = extra.keys() - {skill.id for skill in graph.skills}
    if unknown:
        raise GraphError(f"{min(unknown)}: the graph has no such skill, but fields were given for it")
    return {
        "directed": True,
        "multigraph": False,
        "graph": {"target": graph.target},
        "nodes": [_node(skill, extra.get(skill.id, {})) for skill in graph.skills],
        "edges": [edge_row(edge) for edge in graph.edges],
    }


Make = Callable[[str, Iterable[Skill], Iterable[Edge]], SkillGraph]
"""Makes a graph of target, skills and edges: `build`, or `unchecked` to look for all faults."""


def unchecked(target: str, skills: Iterable[Skill], edges: Iterable[Edge]) -> SkillGraph:
    """What a file says, as it stands there: for `faults_of` only."""
    return SkillGraph(target=target, skills=tuple(skills), edges=tuple(edges))


def faults_of(graph: SkillGraph) -> list[str]:
    """Every fault of an `unchecked` graph, one line each: broken references, cycles, and if there are none of these
    what `check` says."""
    faults = _reference_faults(graph.target, graph.skills, graph.edges)
    network = to_networkx(graph)
    if not nx.is_directed_acyclic_graph(network):
        faults += _cycle_faults(network)
    return faults or check(build(graph.target, graph.skills, graph.edges))


def from_node_link(data: Mapping[str, Any], make: Make = build) -> SkillGraph:
    """The graph of a node-link dictionary, also one from networkx ("links" for "edges") or written by hand.

    A node needs an "id" only; its name is then the id. Levels and order are derived from the edges.

    Raises:
        GraphError: the data is not node-link, names no target, or is no skill graph.
    """
    try:
        target = text(data["graph"]["target"])
        skills = [skill_from_row(node) for node in data["nodes"]]
        edges = [edge_from_row(link) for link in (data["edges"] if "edges" in data else data["links"])]
    except KeyError as error:
        raise GraphError(f"node-link data: {error} is missing") from None
    except (TypeError, AttributeError) as error:
        raise GraphError(f"node-link data: of the wrong shape ({error})") from None
    return make(target, skills, edges)


def extra_fields(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The caller's fields of a node-link dictionary, by skill id: what `to_node_link` was given as `extra`."""
    found = {
        node["id"]: {key: value for key, value in node.items() if key not in _SKILL_FIELDS} for node in data["nodes"]
    }
    return {skill: fields for skill, fields in found.items() if fields}


def _reference_faults(target: str, skills: Sequence[Skill], edges: Sequence[Edge]) -> list[str]:
    """Duplicates and references to nothing: what keeps skills and edges from being a directed graph."""
    known = {skill.id for skill in skills}
    faults = ["a skill has an empty id"] if "" in known else []
    if len(known) < len(skills):
        ids = Counter(skill.id for skill in skills)
        faults += [f"{skill}: {count} skills have this id" for skill, count in ids.items() if count > 1]
    if target not in known:
        faults.append(f"{target}: the target is not among the skills")
    pairs = _pairs(edges)
    unknown = {end for pair in pairs for end in pair} - known
    if unknown:
        faults += [
            f"{before} -> {after}: the graph has no skill {end!r}"
            for before, after in dict.fromkeys(pairs)
            for end in (before, after)
            if end in unknown
        ]
    if len(set(pairs)) < len(pairs):
        counts = Counter(pairs)
        faults += [f"{pair[0]} -> {pair[1]}: {count} times" for pair, count in counts.items() if count > 1]
    return faults


def _cycle_faults(network: nx.DiGraph) -> list[str]:
    """One cycle of every group of skills that lie in cycles."""
    faults = []
    for group in nx.strongly_connected_components(network):
        part = network.subgraph(group)
        if part.number_of_edges():
            cycle = nx.find_cycle(part)
            faults.append("cycle: " + " -> ".join([cycle[0][0], *(end for _, end, *_ in cycle)]))
    return sorted(faults)


def _spelling_faults(graph: SkillGraph) -> list[str]:
    spellings: defaultdict[str, list[Skill]] = defaultdict(list)
    for skill in graph.skills:
        spellings[match_key(skill.name)].append(skill)
    several = {key: same for key, same in spellings.items() if key and same[1:]}
    over = headings(graph) if several else {}
    one = [ids for same in several.values() if (ids := _not_apart(same, over))]
    return [f"{', '.join(ids)}: one skill in {len(ids)} spellings" for ids in one]


def _not_apart(same: Sequence[Skill], over: Mapping[str, frozenset[str]]) -> list[str]:
    """Ids of the skills of one name that are not `apart` from every other one; names may come thousands of times."""
    below = Counter((skill.group, heading) for skill in same for heading in over.get(skill.id, ()))
    skills = sum(not skill.group for skill in same)
    loose = Counter(skill.group for skill in same if skill.id not in over)

    def clashes(skill: Skill) -> bool:
        if any(below[skill.group, heading] > 1 for heading in over.get(skill.id, ())):
            return True
        if skill.group:
            return skill.id not in over and loose[True] > 1
        return skills > 1 and (skill.id not in over or loose[False] > 0)

    return [skill.id for skill in same if clashes(skill)]


def headings(graph: SkillGraph) -> dict[str, frozenset[str]]:
    """The groups that each skill lies directly below; skills that lie below none are left out."""
    groups = {skill.id for skill in graph.skills if skill.group}
    found: defaultdict[str, set[str]] = defaultdict(set)
    for edge in graph.edges:
        if edge.skill in groups:
            found[edge.prerequisite].add(edge.skill)
    return {skill: frozenset(over) for skill, over in found.items()}


def apart(one: Skill, other: Skill, over: Mapping[str, frozenset[str]]) -> bool:
    """Whether two skills of one name are two all the same: a heading and a skill, or below different headings, as the
    statistics of two disciplines. `over` is what `headings` gives."""
    if one.group != other.group:
        return True
    above, beside = over.get(one.id, frozenset()), over.get(other.id, frozenset())
    return above.isdisjoint(beside) and bool((above and beside) or (one.group and (above or beside)))


def _order_faults(graph: SkillGraph, found: Mapping[str, int]) -> list[str]:
    faults = [
        f"{skill.id}: level {skill.level}, but its prerequisites make it {found[skill.id]}"
        for skill in graph.skills
        if skill.level != found[skill.id]
    ]
    if not faults and list(graph.skills) != sorted(graph.skills, key=_order):
        faults.append("the skills are not in learning order (level, then name)")
    return faults


def _network(skills: Sequence[Skill], edges: Sequence[Edge]) -> nx.DiGraph:
    network = nx.DiGraph()
    network.add_nodes_from(skill.id for skill in skills)
    network.add_edges_from(_pairs(edges))
    return network


def _pairs(edges: Iterable[Edge]) -> list[tuple[str, str]]:
    return [(edge.prerequisite, edge.skill) for edge in edges]


def _levels(skills: Sequence[Skill], edges: Sequence[Edge]) -> dict[str, int]:
    """The level of every skill. Raises `GraphError` that names a cycle."""
    found = Network((skill.id for skill in skills), _pairs(edges)).levels()
    if len(found) < len(skills):
        raise GraphError(_cycle_faults(_network(skills, edges))[0])
    return found


def _order(skill: Skill) -> tuple[int, str, str]:
    return skill.level, skill.name, skill.id


def _known(graph: SkillGraph, skill: str) -> None:
    if all(other.id != skill for other in graph.skills):
        raise GraphError(f"{skill}: the graph has no such skill")


def _in_order(graph: SkillGraph, ids: set[str]) -> tuple[str, ...]:
    return tuple(skill.id for skill in graph.skills if skill.id in ids)


def _node(skill: Skill, extra: Mapping[str, Any]) -> dict[str, Any]:
    taken = extra.keys() & _SKILL_FIELDS
    if taken:
        raise GraphError(f"{skill.id}: the field {min(taken)!r} belongs to the skill; give the extra one another name")
    return {**skill_row(skill), **extra}
