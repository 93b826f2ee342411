"""A state tree (nested dicts of plain values and numpy arrays) as bytes and back, without pickling."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_PLAIN = "plain"
_SEPARATOR = "/"


def pack_state(tree: Mapping[str, Any]) -> bytes:
    """Arrays go into an npz archive under their path, everything else into one JSON text beside them."""
    arrays: dict[str, np.ndarray] = {}
    plain = _split(tree, (), arrays)
    text = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **{_PLAIN: text}, **{f"array{_SEPARATOR}{path}": array for path, array in arrays.items()})
    return stream.getvalue()


def unpack_state(data: bytes) -> dict[str, Any]:
    """The inverse of `pack_state`. Raises `ValueError` for bytes that it did not write."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        if _PLAIN not in archive:
            raise ValueError("not a packed state: the plain part is missing")
        tree: dict[str, Any] = json.loads(archive[_PLAIN].tobytes())
        for name in archive.files:
            if name != _PLAIN:
                _insert(tree, name.split(_SEPARATOR)[1:], archive[name])
    return tree


def _split(tree: Mapping[str, Any], path: tuple[str, ...], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in _items(tree):
        if isinstance(value, np.ndarray):
            arrays[_SEPARATOR.join((*path, key))] = value
        elif isinstance(value, Mapping):
            plain[key] = _split(value, (*path, key), arrays)
        else:
            plain[key] = value
    return plain


def _items(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if _SEPARATOR in str(key):
            raise ValueError(f"state key {key!r} must not hold {_SEPARATOR!r}")
        yield str(key), value


def _insert(tree: dict[str, Any], path: list[str], array: np.ndarray) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = array
