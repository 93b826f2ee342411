"""Parallel numpy columns that grow by doubling and can be cut back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dsa_ray.storage.pages import reaching

_FIRST_CAPACITY = 1024


class Columns:
    """Append-only rows over typed columns; `columns["name"]` is a view of the rows that exist.

    A view is good until the next `append`: growing moves the memory.
    """

    def __init__(self, **dtypes: str) -> None:
        self._data = {name: np.empty(_FIRST_CAPACITY, dtype) for name, dtype in dtypes.items()}
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, name: str) -> np.ndarray:
        return self._data[name][: self._rows]

    @property
    def nbytes(self) -> int:
        """Memory of the rows that exist."""
        return self._rows * sum(column.itemsize for column in self._data.values())

    def append(self, **arrays: np.ndarray | int | float | bool) -> None:
        """Add rows: every column must be given; scalars are repeated along the arrays."""
        if arrays.keys() != self._data.keys():
            raise ValueError(f"columns {sorted(self._data)} cannot take {sorted(arrays)}")
        count = max(len(array) if isinstance(array, np.ndarray) else 1 for array in arrays.values())
        end = self._rows + count
        self._reserve(end)
        for name, array in arrays.items():
            self._data[name][self._rows : end] = array
        self._rows = end

    def append_one(self, **values: int | float | bool) -> None:
        """Add one row; every column must be given."""
        self._reserve(self._rows + 1)
        for name, column in self._data.items():
            column[self._rows] = values[name]
        self._rows += 1

    def truncate(self, rows: int) -> None:
        """Keep the first `rows` rows."""
        self._rows = min(self._rows, rows)

    def state_dict(self, prefix: str) -> dict[str, np.ndarray]:
        """Copies of the columns, keyed `prefix.column`."""
        return {f"{prefix}.{name}": self[name].copy() for name in self._data}

    def load_state_dict(self, state: Mapping[str, np.ndarray], prefix: str) -> None:
        self._rows = 0
        self.append(**{name: state[f"{prefix}.{name}"] for name in self._data})

    def _reserve(self, rows: int) -> None:
        if rows > len(next(iter(self._data.values()))):
            self._data = {name: reaching(column, rows - 1) for name, column in self._data.items()}
