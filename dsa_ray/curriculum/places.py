"""Where every written item lies: eight bytes an id."""

from __future__ import annotations

import numpy as np

from dsa_ray.records import TextRef
from dsa_ray.storage.pages import reaching

_FIRST_CAPACITY = 1024
_UNWRITTEN = 0


class Places:
    """A mapping from ids to the journal places of their texts; ids are minted one after another, so it is dense.

    Segments are kept plus 1: what is not written is zero, which takes no memory (`storage.pages`).
    """

    def __init__(self) -> None:
        self._places = np.zeros((_FIRST_CAPACITY, 2), np.int32)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, int) and 0 <= id < len(self._places) and self._places.item(id, 0) != _UNWRITTEN

    def __getitem__(self, id: int) -> TextRef:
        """Raises `KeyError` for an id that is not written."""
        if id not in self:
            raise KeyError(id)
        return TextRef(segment=self._places.item(id, 0) - 1, row=self._places.item(id, 1))

    def __setitem__(self, id: int, ref: TextRef) -> None:
        self._places = reaching(self._places, id)
        self._places[id] = ref.segment + 1, ref.row
