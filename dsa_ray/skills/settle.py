"""From all that was proposed to one graph: contradictions resolved by evidence, every skill led to the target."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from dsa_ray.records import Edge, Skill, SkillGraph
from dsa_ray.skills.cycles import resolve
from dsa_ray.skills.dropped import Dropped
from dsa_ray.skills.graph import build
from dsa_ray.skills.order import Network


def settle(target: str, skills: Sequence[Skill], edges: Sequence[Edge]) -> tuple[SkillGraph, list[str]]:
    """The graph, and what its contradictions cost, one line per skill.

    Args:
        target: id of the skill that everything leads to: what leads away from it closes a cycle.
        skills: each id once.
        edges: each pair once, in the order found, which decides between equal evidence.
    """
    kept, _ = resolve([edge for edge in edges if edge.prerequisite != target])
    stay = {(edge.prerequisite, edge.skill) for edge in kept}
    names = {skill.id: skill.name for skill in skills}
    dropped: dict[str, Dropped] = {}
    for edge in edges:
        if (edge.prerequisite, edge.skill) not in stay:
            lost = dropped.setdefault(edge.skill, Dropped(edge.skill))
            lost.add("closing a cycle", names[edge.prerequisite])
    lines = [line for each in dropped.values() for line in each.lines()]
    ends = _loose_ends(target, names, kept)
    kept += [Edge(prerequisite=skill, skill=target, source="repair") for skill in ends]
    lines += [f"{skill}: nothing needs it without dropped edges, so it is put below the target" for skill in ends]
    return build(target, skills, kept), lines


def _loose_ends(target: str, ids: dict[str, str], edges: Sequence[Edge]) -> list[str]:
    """Skills from which nothing leads to the target any more, and that nothing needs."""
    pairs = [(edge.prerequisite, edge.skill) for edge in edges]
    needed = Network(ids, pairs).ancestors(target)
    lost = [skill for skill in ids if skill not in needed and skill != target]
    if not lost:
        return []
    network = nx.DiGraph(pairs)
    network.add_nodes_from(lost)
    part = network.subgraph(lost)
    return [skill for skill in lost if part.out_degree(skill) == 0]
