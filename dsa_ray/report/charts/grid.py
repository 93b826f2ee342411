"""Places the skills of a graph of any size: small ones with routed edges, large ones as columns of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import networkx as nx

from dsa_ray.records import SkillGraph
from dsa_ray.report.charts import svg
from dsa_ray.report.charts.layout import layered

BOX, HEIGHT = 168.0, 44.0
MARGIN = 40.0
_ROUTED = 120
"""Up to so many skills edges are routed around the boxes."""
_CROWDED = 300
"""Beyond so many skills edges are shown for the chosen skill only."""
_GAP, _ROW = 72.0, HEIGHT + 12.0
_LEVEL_GAP = 96.0
_SWEEPS = 6


@dataclass(frozen=True)
class Placed:
    """Where everything is drawn, in pixels."""

    width: float
    height: float
    corner: dict[str, tuple[float, float]]
    """Skill id -> left upper corner of its box."""
    paths: dict[tuple[str, str], str]
    """(prerequisite, skill) -> the path of the line."""
    columns: dict[int, float]
    """Level -> left end of its first column."""
    crowded: bool
    implied: int
    """Edges left out because longer paths say the same."""


def place(graph: SkillGraph) -> Placed:
    """Level by level from left to right."""
    return _routed(graph) if len(graph.skills) <= _ROUTED else _gridded(graph)


def _routed(graph: SkillGraph) -> Placed:
    levels = {skill.id: skill.level for skill in graph.skills}
    pairs = [(edge.prerequisite, edge.skill) for edge in graph.edges]
    layout = layered(levels, pairs, _ROW, 16)
    step = BOX + _GAP
    corner = {
        skill: (MARGIN + column * step, MARGIN + height - HEIGHT / 2)
        for skill, (column, height) in layout.place.items()
    }
    paths = {}
    for edge, route in layout.routes.items():
        points = []
        for index, (column, height) in enumerate(route):
            left, y = MARGIN + column * step, MARGIN + height
            points += [(left, y)] if index > 0 else []
            points += [(left + BOX, y)] if index < len(route) - 1 else []
        paths[edge] = svg.curve(points)
    columns = {level: MARGIN + index * step for index, level in enumerate(sorted(set(levels.values())))}
    width = 2 * MARGIN + layout.columns * step - _GAP
    return Placed(width, 2 * MARGIN + layout.height, corner, paths, columns, False, layout.implied)


def _gridded(graph: SkillGraph) -> Placed:
    pairs = [(edge.prerequisite, edge.skill) for edge in graph.edges]
    kept = list(nx.transitive_reduction(nx.DiGraph(pairs)).edges) if len(pairs) <= 40_000 else pairs
    levels: dict[int, list[str]] = {}
    for skill in graph.skills:
        levels.setdefault(skill.level, []).append(skill.id)
    ordered = _ordered([levels[level] for level in sorted(levels)], kept)
    rows = max(12, ceil(sqrt(len(graph.skills) * 2.2)))
    corner: dict[str, tuple[float, float]] = {}
    columns: dict[int, float] = {}
    left = MARGIN
    for level, group in zip(sorted(levels), ordered, strict=True):
        columns[level] = left
        wide = ceil(len(group) / rows)
        tall = ceil(len(group) / wide)
        top = MARGIN + (rows - tall) * _ROW / 2
        for number, skill in enumerate(group):
            corner[skill] = (left + (number % wide) * (BOX + 14), top + (number // wide) * _ROW)
        left += wide * (BOX + 14) - 14 + _LEVEL_GAP
    paths = {
        (a, b): svg.curve([(corner[a][0] + BOX, corner[a][1] + HEIGHT / 2), (corner[b][0], corner[b][1] + HEIGHT / 2)])
        for a, b in kept
    }
    crowded = len(graph.skills) > _CROWDED
    size = left - _LEVEL_GAP + MARGIN, 2 * MARGIN + rows * _ROW
    return Placed(*size, corner, paths, columns, crowded, len(pairs) - len(kept))


def _ordered(groups: list[list[str]], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Every level in an order near the means of its neighbours' places, improved from both sides in turn."""
    near: dict[str, list[str]] = {}
    for a, b in pairs:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    place = {skill: (at + 0.5) / len(group) for group in groups for at, skill in enumerate(group)}
    for sweep in range(_SWEEPS):
        for group in groups if sweep % 2 == 0 else groups[::-1]:
            wished = {
                skill: sum(place[other] for other in near[skill]) / len(near[skill]) if skill in near else place[skill]
                for skill in group
            }
            group.sort(key=wished.__getitem__)
            place.update((skill, (at + 0.5) / len(group)) for at, skill in enumerate(group))
    return groups
