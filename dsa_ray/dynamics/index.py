"""Where an id's row stands: a dense array over ids, four bytes each."""

from __future__ import annotations

import numpy as np

NOWHERE = -1
_FIRST_CAPACITY = 1024
_HIGHEST = 2**31 - 1


class DenseIndex:
    """Maps ids (integers from 0, minted one after another) to places (0 .. 2**31 - 1).

    A dict of Python integers would take more than a hundred bytes an id.
    """

    def __init__(self) -> None:
        self._place = np.full(_FIRST_CAPACITY, NOWHERE, "i4")

    def __contains__(self, id: int) -> bool:
        return self.get(id) != NOWHERE

    @property
    def nbytes(self) -> int:
        return self._place.nbytes

    def get(self, id: int) -> int:
        """The place of an id, or -1."""
        return self._place.item(id) if 0 <= id < len(self._place) else NOWHERE

    def many(self, ids: np.ndarray) -> np.ndarray:
        """The places of ids, int32[len(ids)]; -1 where there is none."""
        known = (ids >= 0) & (ids < len(self._place))
        if known.all():
            return self._place[ids]
        places = np.full(len(ids), NOWHERE, "i4")
        places[known] = self._place[ids[known]]
        return places

    def put_one(self, id: int, place: int) -> None:
        """Give an id its place. Raises as `put` does."""
        if not 0 <= id < len(self._place):
            self.put(np.array([id], "i8"), place)
        else:
            self._place[id] = place

    def put(self, ids: np.ndarray, places: np.ndarray | int) -> None:
        """Give ids their places.

        Raises:
            ValueError: an id is negative or has more than 31 bits: it was not minted.
        """
        if ids.size and not (ids.min() >= 0 and ids.max() <= _HIGHEST):
            raise ValueError(f"id {ids.min() if ids.min() < 0 else ids.max()} was not minted: ids are 0 .. {_HIGHEST}")
        self._reserve(int(ids.max(initial=0)) + 1)
        self._place[ids] = places

    def _reserve(self, size: int) -> None:
        if size > len(self._place):
            grown = np.full(max(size, 2 * len(self._place)), NOWHERE, "i4")
            grown[: len(self._place)] = self._place
            self._place = grown
