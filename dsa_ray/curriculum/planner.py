"""Plans optimizer steps: textbooks in learning order first, then exercises by the sampler's priority.

A step is planned whole, for all ranks, so that every rank holds equally many rows and the loss can be an exact mean
over the answer tokens of the step, whoever holds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from dsa_ray.config import TrainConfig
from dsa_ray.curriculum.packing import pack_step, split_long
from dsa_ray.curriculum.sampler import Sampler
from dsa_ray.curriculum.table import ExerciseTable
from dsa_ray.records import PackedItem, RowPlan, TextRef

TEXTBOOKS = "textbooks"
EXERCISES = "exercises"
MIN_FILL = 0.5
"""A step whose rows would be emptier waits while more is being written."""

Book = tuple[int, TextRef, int]
"""Id, place and token count of a textbook."""


class StepPlanner:
    """Turns what is written into steps.

    Args:
        config: the training section.
        table: the written exercises.
        sampler: which exercises come next.
    """

    def __init__(self, config: TrainConfig, table: ExerciseTable, sampler: Sampler) -> None:
        self._config = config
        self._table = table
        self._sampler = sampler
        self._textbook_rows: list[list[PackedItem]] | None = None
        self._known_books: set[int] = set()
        self._late_rows: list[list[PackedItem]] = []
        self._late_done = 0
        self.late: set[int] = set()
        """Ids of textbooks that came after the first phase was fixed; they are read among the exercises."""
        self.next_step = 1

    @property
    def textbook_steps(self) -> int:
        """Steps of the first phase; 0 until the textbooks are known."""
        return len(self._textbook_rows or ()) // self._config.rows_in_step

    @property
    def total_steps(self) -> int:
        return self.textbook_steps + self._config.steps

    @property
    def textbooks_known(self) -> bool:
        return self._textbook_rows is not None

    @property
    def done(self) -> bool:
        """Every step of the run is planned."""
        return self.textbooks_known and self.next_step > self.total_steps

    def set_textbooks(self, books: list[Book]) -> None:
        """Fix the first phase: the books in learning order, read `textbook_passes` times.

        The last step is filled up with the first rows again, so that all ranks train equally many.
        """
        self._known_books = {book[0] for book in books}
        rows = _pack_in_order(books, self._config.row_tokens) * self._config.textbook_passes
        missing = -len(rows) % self._config.rows_in_step
        self._textbook_rows = rows + [rows[index % len(rows)] for index in range(missing)] if rows else []

    def add_late(self, books: Iterable[Book]) -> None:
        """Textbooks of skills that joined the run later: each is read once, at most one row of a step. Idempotent."""
        if not self._config.textbook_passes:
            return
        for book in books:
            if book[0] not in self._known_books:
                self._known_books.add(book[0])
                self.late.add(book[0])
                self._late_rows += _pack_in_order([book], self._config.row_tokens)

    def plan(self, first_lease: int, patient: bool) -> list[RowPlan] | None:
        """The rows of the next step, or None when too little that may be trained is written (or all is planned).

        Args:
            first_lease: number of the first row.
            patient: more is being written, so rows that would stay half empty had better wait for it.
        """
        if not self.textbooks_known or self.done:
            return None
        if self.next_step <= self.textbook_steps:
            rows = self._textbook_step()
            phase, within, steps = TEXTBOOKS, self.next_step, self.textbook_steps
        else:
            rows = self._exercise_step(patient)
            phase, within, steps = EXERCISES, self.next_step - self.textbook_steps, self._config.steps
        if not rows:
            return None
        denominator = sum(item.weight * item.loss_tokens for row in rows for item in row)
        plans = [
            RowPlan(
                lease=first_lease + index,
                rank=index % self._config.ranks,
                attempt=0,
                step=self.next_step,
                phase=phase,
                progress=(within - 0.5) / steps,
                denominator=float(denominator) or 1.0,
                items=tuple(row),
            )
            for index, row in enumerate(rows)
        ]
        self.next_step += 1
        return plans

    def state_dict(self) -> dict[str, Any]:
        return {"next_step": self.next_step, "late_done": self._late_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next_step = state["next_step"]
        self._late_done = state.get("late_done", 0)

    def _textbook_step(self) -> list[list[PackedItem]]:
        assert self._textbook_rows is not None
        count = self._config.rows_in_step
        start = (self.next_step - 1) * count
        return self._textbook_rows[start : start + count]

    def _exercise_step(self, patient: bool) -> list[list[PackedItem]]:
        late = self._late_rows[self._late_done : self._late_done + 1]
        count, row_tokens = self._config.rows_in_step - len(late), self._config.row_tokens
        if not count:
            self._late_done += len(late)
            return late
        candidates = self._sampler.peek(_wanted(count, row_tokens, self._table.mean_tokens), self.next_step)
        rows = pack_step(self._table.tokens(candidates), row_tokens, count)
        if len(rows) < count or not all(rows):
            return []
        taken = [[int(candidates[index]) for index in row] for row in rows]
        filled = sum(int(self._table.tokens(np.asarray(row)).sum()) for row in taken)
        if patient and filled < MIN_FILL * count * row_tokens:
            return []
        self._sampler.take([exercise for row in taken for exercise in row], self.next_step)
        self._late_done += len(late)
        return [[self._item(exercise) for exercise in row] for row in taken] + late

    def _item(self, exercise: int) -> PackedItem:
        probe = exercise in self._table.planted and self._table.probes
        return self._table.item(exercise, self._sampler.visits(exercise), 0.0 if probe else 1.0)


def _wanted(rows: int, row_tokens: int, mean_tokens: float) -> int:
    """How many candidates fill the rows, with a look-ahead for the packer."""
    return int(2 * rows * row_tokens / max(1.0, mean_tokens)) + 32


def _pack_in_order(books: list[Book], row_tokens: int) -> list[list[PackedItem]]:
    """Rows of textbook chunks in strict order; a chunk that does not fit opens the next row."""
    rows: list[list[PackedItem]] = []
    room = 0
    for book, ref, tokens in books:
        for offset, length in split_long(tokens, row_tokens):
            if length > room:
                rows.append([])
                room = row_tokens
            rows[-1].append(_chunk(book, ref, offset, length))
            room -= length
    return rows


def _chunk(book: int, ref: TextRef, offset: int, length: int) -> PackedItem:
    return PackedItem(
        exercise=book, prompt=ref, answer=ref, tokens=length, loss_tokens=length - 1, visit=1, weight=1.0, offset=offset
    )
