"""Where an id's row stands: a dense array over ids, four bytes each."""

from __future__ import annotations

import numpy as np

from dsa_ray.storage.pages import reaching

NOWHERE = -1
"""The place of an id that has none."""
_FIRST_CAPACITY = 1024
_HIGHEST = 2**31 - 1


class DenseIndex:
    """Maps ids (integers from 0, minted one after another) to places (0 .. 2**31 - 2).

    A dict of Python integers would take more than a hundred bytes an id. Places are kept plus 1, so that the part of
    the array that waits for ids is zero, which takes no memory (`storage.pages`).
    """

    def __init__(self) -> None:
        self._above = np.zeros(_FIRST_CAPACITY, "i4")

    def __contains__(self, id: int) -> bool:
        return self.get(id) != NOWHERE

    @property
    def nbytes(self) -> int:
        return self._above.nbytes

    def get(self, id: int) -> int:
        """The place of an id, or -1."""
        return self._above.item(id) - 1 if 0 <= id < len(self._above) else NOWHERE

    def many(self, ids: np.ndarray) -> np.ndarray:
        """The places of ids, int32[len(ids)]; -1 where there is none."""
        known = (ids >= 0) & (ids < len(self._above))
        if known.all():
            return self._above[ids] - 1
        places = np.full(len(ids), NOWHERE, "i4")
        places[known] = self._above[ids[known]] - 1
        return places

    def put_one(self, id: int, place: int) -> None:
        """Give an id its place. Raises as `put` does."""
        if not 0 <= id < len(self._above):
            self.put(np.array([id], "i8"), place)
        else:
            self._above[id] = place + 1

    def put(self, ids: np.ndarray, places: np.ndarray | int) -> None:
        """Give ids their places.

        Raises:
            ValueError: an id is negative or has more than 31 bits: it was not minted.
        """
        if ids.size and not (ids.min() >= 0 and ids.max() <= _HIGHEST):
            raise ValueError(f"id {ids.min() if ids.min() < 0 else ids.max()} was not minted: ids are 0 .. {_HIGHEST}")
        self._above = reaching(self._above, int(ids.max(initial=0)))
        self._above[ids] = places + 1
