"""A set of integers in eight bytes each; a Python set takes some hundred, and more where they are tuples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsa_ray.storage.pages import distinct, inserted, place_of

_MERGE = 16_384
"""So many new ones lie in a Python set before they join the sorted array."""


class NumberSet:
    """Grows and never shrinks. Numbers are signed ones of 64 bits.

    Args:
        numbers: what is in it from the beginning.
    """

    def __init__(self, numbers: Sequence[int] | np.ndarray = ()) -> None:
        self._sorted = distinct(np.asarray(numbers, np.int64))
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, number: int) -> bool:
        return number in self._recent or place_of(number, self._sorted) is not None

    def add(self, number: int) -> None:
        if number not in self:
            self._recent.add(number)
            if len(self._recent) >= _MERGE:
                self._merge()

    def array(self) -> np.ndarray:
        """All of them, int64, rising; a copy."""
        self._merge()
        return self._sorted.copy()

    def _merge(self) -> None:
        new = np.sort(np.fromiter(self._recent, np.int64, len(self._recent)))
        self._sorted = inserted(self._sorted, np.searchsorted(self._sorted, new), new)
        self._recent = set()
