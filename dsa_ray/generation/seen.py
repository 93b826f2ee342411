"""Content hashes of all that was accepted, in a dozen bytes each; a dict would take more than a hundred."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from dsa_ray.storage.pages import distinct, inserted, place_of

_MERGE = 16_384
"""So many new ones lie in a dict before they join the sorted arrays."""
KnownHashes: TypeAlias = Iterable[int] | np.ndarray
NOBODY = -1
"""Whose a hash is that was known before."""


class SeenHashes:
    """Which item a 64-bit hash belongs to. The first one keeps it.

    Args:
        known: hashes of items that are not told apart. An array has to rise (int64); it is searched where it lies, be
            it in shared memory, and not copied.
    """

    def __init__(self, known: KnownHashes = ()) -> None:
        self._known = known if isinstance(known, np.ndarray) else distinct(np.fromiter(known, np.int64))
        self._hashes, self._items = np.zeros(0, np.int64), np.zeros(0, np.int32)
        self._recent: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._known) + len(self._hashes) + len(self._recent)

    def get(self, digest: int) -> int | None:
        """The item of a hash, `NOBODY` for one known before; None where it was never seen."""
        if digest in self._recent:
            return self._recent[digest]
        place = place_of(digest, self._hashes)
        if place is not None:
            return self._items.item(place)
        return None if place_of(digest, self._known) is None else NOBODY

    def add(self, digest: int, item: int) -> None:
        """Remember the item of a hash, unless it has one."""
        if self.get(digest) is not None:
            return
        self._recent[digest] = item
        if len(self._recent) >= _MERGE:
            self._merge()

    def _merge(self) -> None:
        hashes, items = zip(*sorted(self._recent.items()), strict=True)
        hashes = np.array(hashes, np.int64)
        places = np.searchsorted(self._hashes, hashes)
        self._items = inserted(self._items, places, np.array(items, np.int32))
        self._hashes, self._recent = inserted(self._hashes, places, hashes), {}
