"""What a graph tells beyond its order: which edges others imply, and what can be learned next."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import networkx as nx

from dsa_ray.records import SkillGraph
from dsa_ray.skills.graph import GraphError, levels, prerequisites, to_networkx


def reduced(graph: SkillGraph) -> SkillGraph:
    """Without the edges that a longer path implies (transitive reduction). Levels and order stay as they are."""
    kept = set(nx.transitive_reduction(to_networkx(graph)).edges)
    edges = tuple(edge for edge in graph.edges if (edge.prerequisite, edge.skill) in kept)
    return dataclasses.replace(graph, edges=edges)


def frontier(graph: SkillGraph, mastered: Collection[str]) -> tuple[str, ...]:
    """Skills that are not mastered and whose prerequisites all are, in learning order: what can be learned now.

    Raises:
        GraphError: `mastered` names an unknown skill.
    """
    mastered = set(mastered)
    before = prerequisites(graph)
    unknown = mastered - before.keys()
    if unknown:
        raise GraphError(f"{min(unknown)}: the graph has no such skill")
    return tuple(
        skill for skill, needed in before.items() if skill not in mastered and all(each in mastered for each in needed)
    )


def groups_by_level(graph: SkillGraph) -> tuple[tuple[str, ...], ...]:
    """Skill ids level by level, each level in learning order: the skills of one level do not need each other."""
    found = levels(graph)
    groups: list[list[str]] = [[] for _ in range(1 + max(found.values(), default=-1))]
    for skill, level in found.items():
        groups[level].append(skill)
    return tuple(tuple(group) for group in groups)
