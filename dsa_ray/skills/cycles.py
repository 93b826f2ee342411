"""Which of contradicting edges stays: "a before b" and "b before a" cannot both hold.

Edges are taken by their evidence, the strongest first, and one that would close a cycle with stronger ones is left
out. Evidence: what a person wrote, then what a syllabus says, then how often it was proposed, then who was first
(ours; DSA does not say how it resolves cycles).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import networkx as nx

from dsa_ray.records import Edge

_RANK = {"hand": 0, "syllabus": 1}
"""By source; all others come after these."""


def resolve(edges: Sequence[Edge]) -> tuple[list[Edge], list[Edge]]:
    """(kept, dropped) edges, each in the order given. The kept ones are acyclic; no pair comes twice.

    Args:
        edges: in the order found, which decides between equal evidence.
    """
    network = nx.DiGraph((edge.prerequisite, edge.skill) for edge in edges)
    knot = {
        skill: number
        for number, group in enumerate(nx.strongly_connected_components(network))
        for skill in group
        if len(group) > 1
    }
    tangled = [
        (place, edge)
        for place, edge in enumerate(edges)
        if edge.prerequisite == edge.skill
        or (edge.prerequisite in knot and knot[edge.prerequisite] == knot.get(edge.skill))
    ]
    order = _Order(_first_guess([edge for _, edge in tangled]))
    tangled.sort(key=lambda pair: (_strength(pair[1]), pair[0]))
    out = {place for place, edge in tangled if not order.add(edge.prerequisite, edge.skill)}
    kept = [edge for place, edge in enumerate(edges) if place not in out]
    return kept, [edges[place] for place in sorted(out)]


def _strength(edge: Edge) -> tuple[int, int]:
    return _RANK.get(edge.source, len(_RANK)), -edge.proposals


def _first_guess(edges: Sequence[Edge]) -> list[str]:
    """Skills as they come up in the edges, or backwards: whichever more edges agree with, so that little moves."""
    found = list(dict.fromkeys(end for edge in edges for end in (edge.prerequisite, edge.skill)))
    place = {skill: number for number, skill in enumerate(found)}
    agree = sum(place[edge.prerequisite] < place[edge.skill] for edge in edges)
    return found if 2 * agree >= len(edges) else found[::-1]


class _Order:
    """A topological order that is repaired as edges come in (Pearce and Kelly, 2006): near-linear on sparse graphs."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._place = {skill: place for place, skill in enumerate(ids)}
        self._after: defaultdict[str, list[str]] = defaultdict(list)
        self._before: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, before: str, after: str) -> bool:
        """Add an edge; False, and nothing changes, if it would close a cycle."""
        place = self._place
        if before == after:
            return False
        if place[before] > place[after]:
            forward = self._within(after, self._after, lambda other: place[other] <= place[before])
            if before in forward:
                return False
            backward = self._within(before, self._before, lambda other: place[other] >= place[after])
            moved = sorted(backward, key=place.__getitem__) + sorted(forward, key=place.__getitem__)
            for free, skill in zip(sorted(place[skill] for skill in moved), moved, strict=True):
                place[skill] = free
        self._after[before].append(after)
        self._before[after].append(before)
        return True

    def _within(self, start: str, links: dict[str, list[str]], inside: Callable[[str], bool]) -> set[str]:
        found, waiting = {start}, [start]
        while waiting:
            for other in links.get(waiting.pop(), ()):
                if other not in found and inside(other):
                    found.add(other)
                    waiting.append(other)
        return found
