"""Large arrays on memory pages of their own: a page takes memory when it is written to, and gives it back in the end.

Memory that malloc manages does neither: zeros beyond what is used are written when an array is copied into a larger
one, and the smaller one's place stays with the process. A table that doubles would hold up to three times its rows.
"""

from __future__ import annotations

import ctypes
import math
import mmap

import numpy as np
from numpy.typing import DTypeLike

_LARGE = 1 << 16
"""Bytes from which an array gets pages of its own."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""glibc's names for what `mallopt` sets."""
_ARENAS = 2


def zeros(shape: int | tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros."""
    count = math.prod(shape) if isinstance(shape, tuple) else shape
    size = count * np.dtype(dtype).itemsize
    if size < _LARGE:
        return np.zeros(shape, dtype)
    pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, dtype, count).reshape(shape)


def grown(array: np.ndarray, rows: int) -> np.ndarray:
    """A copy with so many rows, at least those that are there; new ones are zero."""
    larger = zeros((rows, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def reaching(array: np.ndarray, row: int) -> np.ndarray:
    """The array itself where it has this row (from 0), or a copy that has and is at least twice as long."""
    return array if row < len(array) else grown(array, max(row + 1, 2 * len(array)))


def inserted(array: np.ndarray, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """As `numpy.insert` of one dimension: a copy with `values` before the places given, which do not fall."""
    merged = zeros(len(array) + len(values), array.dtype)
    at = places + np.arange(len(values))
    kept = np.ones(len(merged), bool)
    kept[at] = False
    merged[at], merged[kept] = values, array
    return merged


def distinct(*arrays: np.ndarray) -> np.ndarray:
    """The numbers of all arrays (int64), each once and rising.

    `numpy.unique` goes through a table of small pieces, of which 40 bytes a number stay with the process.
    """
    ordered = np.sort(np.concatenate([np.zeros(0, np.int64), *arrays]))
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def place_of(number: int, ordered: np.ndarray) -> int | None:
    """Where a number lies in what `distinct` gave; None where it does not."""
    place = int(np.searchsorted(ordered, number))
    return place if place < len(ordered) and ordered.item(place) == number else None


def keep_little() -> None:
    """Let malloc hold as little of what is freed as it can, from now on: for a process that computes little and lives
    long. Its threads share two arenas, and what is large gets pages of its own. Only in glibc.

    Not for one that computes: tensors would be given back and asked for again with every step.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_M_ARENA_MAX, _ARENAS)
        tune(_M_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Give back what was freed and malloc keeps, after many small things have gone at once. Only glibc does."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
