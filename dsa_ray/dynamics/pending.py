"""Losses of a step that is not closed yet, in columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_VISIT_BITS = 32
_VISIT_MASK = (1 << _VISIT_BITS) - 1


class Pending(NamedTuple):
    """Rows of a step that is not closed, no two of one (exercise, visit)."""

    keys: np.ndarray
    """int64[n]: exercise and visit in one number, so that sorting keys sorts by both."""
    losses: np.ndarray
    """float64[n]."""
    tokens: np.ndarray
    """int32[n]."""

    @property
    def exercises(self) -> np.ndarray:
        return self.keys >> _VISIT_BITS

    @property
    def visits(self) -> np.ndarray:
        return self.keys & _VISIT_MASK

    def at(self, which: np.ndarray) -> Pending:
        return Pending(self.keys[which], self.losses[which], self.tokens[which])

    def name(self, place: int) -> str:
        return f"exercise {self.exercises[place]} visit {self.visits[place]}"


def checked(ids: Sequence[int], visits: Sequence[int], losses: Sequence[float], tokens: Sequence[int]) -> Pending:
    """The columns of a report, checked one by one."""
    columns = np.asarray(ids, "i8"), np.asarray(visits, "i8"), np.asarray(losses, "f8"), np.asarray(tokens, "i8")
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"columns of {[len(column) for column in columns]} rows: one value per exercise is needed")
    exercise, visit, loss, count = columns
    for bad in np.flatnonzero(~np.isfinite(loss))[:1]:
        raise ValueError(f"exercise {exercise[bad]} visit {visit[bad]}: loss {loss[bad]} is not finite")
    for bad in np.flatnonzero((visit < 1) | (count < 1) | (exercise < 0))[:1]:
        raise ValueError(
            f"exercise {exercise[bad]} visit {visit[bad]}, {count[bad]} tokens: visits and tokens count from 1, "
            "ids from 0"
        )
    return Pending(exercise << _VISIT_BITS | visit, loss, count.astype("i4"))


def distinct(rows: Pending, fault: str) -> Pending:
    """Each (exercise, visit) once; one that comes twice must be the same twice."""
    _, first, place = np.unique(rows.keys, return_index=True, return_inverse=True)
    if len(first) == len(rows.keys):
        return rows
    kept = rows.at(first)
    unlike = (kept.losses[place] != rows.losses) | (kept.tokens[place] != rows.tokens)
    if unlike.any():
        raise ValueError(f"{rows.name(int(np.flatnonzero(unlike)[0]))}: {fault}")
    return rows.at(np.sort(first))


def joined(one: Pending, other: Pending) -> Pending:
    """Both, without what is in both."""
    new = other.at(np.flatnonzero(~np.isin(other.keys, one.keys, assume_unique=True)))
    return Pending(*(np.concatenate(columns) for columns in zip(one, new, strict=True)))
