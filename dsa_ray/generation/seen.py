"""Content hashes of all that was accepted, in a dozen bytes each; a dict would take more than a hundred."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dsa_ray.storage.pages import inserted

_MERGE = 16_384
"""So many new ones lie in a dict before they join the sorted arrays."""
NOBODY = -1
"""Whose a hash is that was known before."""


class SeenHashes:
    """Which item a 64-bit hash belongs to. The first one keeps it.

    Args:
        known: hashes of items that are not told apart.
    """

    def __init__(self, known: Iterable[int] = ()) -> None:
        self._hashes = np.unique(np.fromiter(known, np.int64))
        self._items = np.full(len(self._hashes), NOBODY, np.int32)
        self._recent: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._hashes) + len(self._recent)

    def get(self, digest: int) -> int | None:
        """The item of a hash, `NOBODY` for one known before; None where it was never seen."""
        if digest in self._recent:
            return self._recent[digest]
        place = int(np.searchsorted(self._hashes, digest))
        if place < len(self._hashes) and self._hashes.item(place) == digest:
            return self._items.item(place)
        return None

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
