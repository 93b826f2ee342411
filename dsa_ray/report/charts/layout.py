"""Places the skills of a graph: one column per level, in an order that crosses few lines, near their neighbours.

The usual four steps (Sugiyama): edges that others imply are left out, an edge over several levels gets a waypoint in
each, orders are improved by medians of the neighbours, and heights by least squares within the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from dsa_ray.report.charts import svg

_SWEEPS = 12

Spot = tuple[str, str, int]
"""A skill (id, "", column) or the waypoint of an edge (prerequisite, skill, column)."""


@dataclass(frozen=True)
class Layout:
    """Where everything lies; columns count from 0, heights are centres in pixels."""

    columns: int
    place: dict[str, tuple[int, float]]
    """Skill id -> (column, height)."""
    routes: dict[tuple[str, str], list[tuple[int, float]]]
    """(prerequisite, skill) -> the places it runs through, both ends included."""
    height: float
    implied: int
    """Edges left out because a longer path says the same."""


def layered(
    levels: Mapping[str, int], edges: Sequence[tuple[str, str]], skill_size: float, waypoint_size: float
) -> Layout:
    """Lay out an acyclic graph.

    Args:
        levels: skill id -> level; an edge leads from a lower to a higher one.
        edges: (prerequisite, skill) pairs.
        skill_size: pixels that a skill takes in its column, the gap included.
        waypoint_size: the same for an edge that passes.
    """
    column = {level: index for index, level in enumerate(sorted(set(levels.values())))}
    kept = _without_implied(edges)
    paths = [_waypoints(edge, column[levels[edge[0]]], column[levels[edge[1]]]) for edge in kept]
    columns: list[list[Spot]] = [[] for _ in column]
    for skill, level in levels.items():
        columns[column[level]].append((skill, "", column[level]))
    for path in paths:
        for spot in path[1:-1]:
            columns[spot[2]].append(spot)
    links = [link for path in paths for link in pairwise(path)]
    columns = _ordered(columns, links)
    heights = _heights(columns, links, {True: skill_size, False: waypoint_size})
    return Layout(
        columns=len(columns),
        place={spot[0]: (spot[2], heights[spot]) for spots in columns for spot in spots if not spot[1]},
        routes={edge: [(spot[2], heights[spot]) for spot in path] for edge, path in zip(kept, paths, strict=True)},
        height=max((height for height in heights.values()), default=0.0) + skill_size / 2,
        implied=len(set(edges)) - len(kept),
    )


def _without_implied(edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(nx.transitive_reduction(nx.DiGraph(sorted(set(edges)))).edges) if edges else []


def _waypoints(edge: tuple[str, str], start: int, end: int) -> list[Spot]:
    between: list[Spot] = [(edge[0], edge[1], column) for column in range(start + 1, end)]
    return [(edge[0], "", start), *between, (edge[1], "", end)]


def _neighbours(links: Sequence[tuple[Spot, Spot]]) -> tuple[dict[Spot, list[Spot]], dict[Spot, list[Spot]]]:
    before: dict[Spot, list[Spot]] = {}
    after: dict[Spot, list[Spot]] = {}
    for left, right in links:
        before.setdefault(right, []).append(left)
        after.setdefault(left, []).append(right)
    return before, after


def _ordered(columns: list[list[Spot]], links: Sequence[tuple[Spot, Spot]]) -> list[list[Spot]]:
    before, after = _neighbours(links)
    best, fewest = columns, _crossings(columns, links)
    for sweep in range(_SWEEPS):
        columns = [list(spots) for spots in columns]
        forward = sweep % 2 == 0
        side = before if forward else after
        for index in range(len(columns)) if forward else reversed(range(len(columns))):
            rank = {spot: (at + 0.5) / len(spots) for spots in columns for at, spot in enumerate(spots)}
            columns[index].sort(key=lambda spot: _mean([rank[near] for near in side.get(spot, ())], rank[spot]))
        crossings = _crossings(columns, links)
        if crossings < fewest:
            best, fewest = columns, crossings
    return best


def _crossings(columns: Sequence[Sequence[Spot]], links: Sequence[tuple[Spot, Spot]]) -> int:
    rank = {spot: at for spots in columns for at, spot in enumerate(spots)}
    by_column: dict[int, list[tuple[int, int]]] = {}
    for left, right in links:
        by_column.setdefault(left[2], []).append((rank[left], rank[right]))
    total = 0
    for pairs in by_column.values():
        pairs.sort()
        total += sum(pairs[i][1] > pairs[j][1] for i in range(len(pairs)) for j in range(i + 1, len(pairs))
                     if pairs[i][0] != pairs[j][0])  # fmt: skip
    return total


def _heights(
    columns: Sequence[Sequence[Spot]], links: Sequence[tuple[Spot, Spot]], size: Mapping[bool, float]
) -> dict[Spot, float]:
    """Pull every spot towards the mean of its neighbours, several times, keeping order and room."""
    before, after = _neighbours(links)
    sizes = [[size[not spot[1]] for spot in spots] for spots in columns]
    tallest = max((sum(column) for column in sizes), default=0.0)
    heights: dict[Spot, float] = {}
    for spots, column in zip(columns, sizes, strict=True):
        heights.update(zip(spots, svg.spread([tallest / 2] * len(spots), column), strict=True))
    for sweep in range(_SWEEPS):
        order = range(len(columns)) if sweep % 2 == 0 else reversed(range(len(columns)))
        for index in order:
            spots = columns[index]
            wished = [
                _mean([heights[near] for near in (*before.get(spot, ()), *after.get(spot, ()))], heights[spot])
                for spot in spots
            ]
            heights.update(zip(spots, svg.spread(wished, sizes[index]), strict=True))
    top = min((heights[spot] - size[not spot[1]] / 2 for spots in columns for spot in spots), default=0.0)
    return {spot: height - top for spot, height in heights.items()}


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
