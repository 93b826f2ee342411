"""The ledger of training leases: packed rows, planned whole steps at a time, given to the ranks, closed by observation.

`slots` rows per rank may be planned and not yet trained. A step closes when every rank has reported it; a new
attempt of the trainer takes over what the older one had not trained.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any

from dsa_ray.records import PackedItem, RowPlan, TextRef, shallow


class LeaseLedger:
    """Rows per rank: planned, out, and the steps that are complete.

    Args:
        ranks: data-parallel workers.
        rows_per_step: rows per rank and step.
        slots: rows per rank that may be planned and not yet trained.
    """

    def __init__(self, ranks: int, rows_per_step: int, slots: int) -> None:
        self.ranks = ranks
        self._rows_per_step = rows_per_step
        self._slots = slots
        self._planned: list[deque[RowPlan]] = [deque() for _ in range(ranks)]
        self._out: list[dict[int, RowPlan]] = [{} for _ in range(ranks)]
        self._reported: dict[int, set[int]] = {}
        self.attempt = 0
        self.closed_step = 0
        self.next_lease = 1

    @property
    def has_room(self) -> bool:
        """Whether a further step may be planned."""
        return all(
            len(planned) + len(out) + self._rows_per_step <= self._slots
            for planned, out in zip(self._planned, self._out, strict=True)
        )

    @property
    def open_rows(self) -> int:
        """Rows planned or out, all ranks."""
        return sum(map(len, self._planned)) + sum(map(len, self._out))

    def open_steps(self) -> list[list[RowPlan]]:
        """The rows that are planned or out, step by step."""
        rows = sorted(self._open_rows(), key=attrgetter("lease"))
        return [list(step) for _, step in groupby(rows, key=attrgetter("step"))]

    def _open_rows(self) -> list[RowPlan]:
        return [row for rank in range(self.ranks) for row in (*self._out[rank].values(), *self._planned[rank])]

    def add_step(self, rows: list[RowPlan]) -> None:
        """Queue the rows of one step; each rank gets the same number."""
        for row in rows:
            self._planned[row.rank].append(row)
        self.next_lease = max(self.next_lease, max(row.lease for row in rows) + 1)

    def give(self, rank: int, attempt: int, n: int) -> list[RowPlan]:
        """Up to `n` rows for a rank, in order; nothing for an attempt that is over."""
        if attempt != self.attempt:
            return []
        given = []
        while self._planned[rank] and len(given) < n:
            row = replace(self._planned[rank].popleft(), attempt=attempt)
            self._out[rank][row.lease] = row
            given.append(row)
        return given

    def planned_of(self, rank: int) -> int:
        """Rows of a rank that wait to be given out."""
        return len(self._planned[rank])

    def out_rows(self, rank: int, leases: list[int]) -> list[RowPlan]:
        """The rows of these leases, as far as the rank holds them."""
        return [self._out[rank][lease] for lease in leases if lease in self._out[rank]]

    def report(self, rank: int, attempt: int, step: int, leases: list[int]) -> bool:
        """A rank trained its rows of a step. False for a report that does not count (an older attempt, a repeat)."""
        if attempt != self.attempt or any(lease not in self._out[rank] for lease in leases):
            return False
        for lease in leases:
            del self._out[rank][lease]
        self._reported.setdefault(step, set()).add(rank)
        return True

    def closable(self) -> int | None:
        """The next step, when every rank has reported it. Steps close in order."""
        step = self.closed_step + 1
        if len(self._reported.get(step, ())) < self.ranks:
            return None
        del self._reported[step]
        self.closed_step = step
        return step

    def begin_attempt(self) -> int:
        """A trainer starts: what an older attempt held goes back to the head of the queue, in order."""
        self.attempt += 1
        for rank in range(self.ranks):
            back = sorted((*self._out[rank].values(), *self._planned[rank]), key=lambda row: row.lease)
            self._planned[rank] = deque(back)
            self._out[rank] = {}
        self._reported = {}
        return self.attempt

    def resize(self, ranks: int) -> None:
        """For an attempt with another number of ranks; what was open is forgotten, to be loaded from a checkpoint."""
        self.ranks = ranks
        self._planned = [deque() for _ in range(ranks)]
        self._out = [{} for _ in range(ranks)]
        self._reported = {}

    def state_dict(self) -> dict[str, Any]:
        plain = [plain_row(row) for row in self._open_rows()]
        return {"closed_step": self.closed_step, "next_lease": self.next_lease, "ranks": self.ranks, "rows": plain}

    def load_state_dict(self, state: dict[str, Any]) -> list[RowPlan]:
        """Everything that was open is planned again. The attempt number is kept: only newer attempts may train it.

        Returns:
            The open rows of a ledger with another number of ranks: these have to be planned anew. Else none.
        """
        self.closed_step = state["closed_step"]
        self.next_lease = state["next_lease"]
        self._reported = {}
        rows = sorted((row_plan(row) for row in state["rows"]), key=lambda row: row.lease)
        self._out = [{} for _ in range(self.ranks)]
        self._planned = [deque() for _ in range(self.ranks)]
        if state["ranks"] != self.ranks:
            return rows
        for row in rows:
            self._planned[row.rank].append(row)
        return []


def plain_row(row: RowPlan) -> dict[str, Any]:
    """A `RowPlan` in plain values: what `dataclasses.asdict` gives."""
    return {**shallow(row), "items": tuple(map(_plain_item, row.items))}


def _plain_item(item: PackedItem) -> dict[str, Any]:
    return {**shallow(item), "prompt": shallow(item.prompt), "answer": shallow(item.answer)}


def row_plan(row: dict[str, Any]) -> RowPlan:
    """A `RowPlan` from its plain form (as journals and checkpoints hold it)."""
    items = tuple(
        PackedItem(**{**item, "prompt": TextRef(**item["prompt"]), "answer": TextRef(**item["answer"])})
        for item in row["items"]
    )
    return RowPlan(**{**row, "items": items})
