"""Every request that a verdict caused, in a few dozen bytes each; the requests themselves would take ten times that."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dsa_ray.records import ExerciseRequest, Kind

_KINDS = tuple(Kind)
_FIXED = 5
"""Numbers of a child before its parents: id, kind, exercise and cycle of its cause, how many parents."""


class ChildOrder(NamedTuple):
    """What is remembered of a request."""

    id: int
    kind: Kind
    cause: tuple[int, int]
    """(exercise, cycle) of the verdict."""
    parents: tuple[int, ...]


class ChildOrders:
    """In the order in which they were made. Requests without a cause are left out.

    Args:
        requests: what was made before.
    """

    def __init__(self, requests: Iterable[ExerciseRequest] = ()) -> None:
        self._numbers = array("i")
        for request in requests:
            self.add(request)

    def add(self, request: ExerciseRequest) -> None:
        if request.cause is not None:
            fixed = request.id, _KINDS.index(request.kind), *request.cause, len(request.parents)
            self._numbers.extend((*fixed, *request.parents))

    def __iter__(self) -> Iterator[ChildOrder]:
        at = 0
        while at < len(self._numbers):
            id, kind, exercise, cycle, count = self._numbers[at : at + _FIXED]
            at += _FIXED + count
            yield ChildOrder(id, _KINDS[kind], (exercise, cycle), tuple(self._numbers[at - count : at]))
