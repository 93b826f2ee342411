"""Levels and reachability in numbers: what has to be quick for a hundred thousand skills.

To fill a networkx graph of that size takes longer than all of this; where speed is of no account networkx is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

Pair = tuple[str, str]
"""(prerequisite, skill)."""


class Network:
    """Skills and their edges as arrays.

    Args:
        ids: every skill once.
        pairs: edges whose ends are all among `ids`.
    """

    def __init__(self, ids: Iterable[str], pairs: Sequence[Pair]) -> None:
        self._ids = list(ids)
        self._place = {skill: place for place, skill in enumerate(self._ids)}
        place = self._place
        self._before = np.fromiter((place[pair[0]] for pair in pairs), np.int64, len(pairs))
        self._after = np.fromiter((place[pair[1]] for pair in pairs), np.int64, len(pairs))

    def levels(self) -> dict[str, int]:
        """Longest path from a skill without prerequisites, for every skill that is not on or behind a cycle.

        Fewer levels than skills say that there is a cycle.
        """
        following = _Links(self._before, self._after, len(self._ids))
        waiting = np.bincount(self._after, minlength=len(self._ids))
        found: dict[str, int] = {}
        group, level = np.flatnonzero(waiting == 0), 0
        while group.size:
            found.update((self._ids[place], level) for place in group.tolist())
            reached, times = np.unique(following.of(group), return_counts=True)
            waiting[reached] -= times
            group, level = reached[waiting[reached] == 0], level + 1
        return found

    def ancestors(self, skill: str) -> set[str]:
        """All that has to be learned before `skill`, cycles or not; `skill` itself only if it is on a cycle."""
        preceding = _Links(self._after, self._before, len(self._ids))
        seen = np.zeros(len(self._ids), bool)
        group = np.array([self._place[skill]])
        while group.size:
            reached = np.unique(preceding.of(group))
            group = reached[~seen[reached]]
            seen[group] = True
        return {self._ids[place] for place in np.flatnonzero(seen).tolist()}


class _Links:
    """Which places follow a place."""

    def __init__(self, start: np.ndarray, end: np.ndarray, count: int) -> None:
        self._ends = end[np.argsort(start, kind="stable")]
        self._first = np.concatenate([[0], np.cumsum(np.bincount(start, minlength=count))])

    def of(self, places: np.ndarray) -> np.ndarray:
        """The followers of all these places in a row, repeats included."""
        first, sizes = self._first[places], self._first[places + 1] - self._first[places]
        offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self._ends[np.repeat(first, sizes) + offsets]
