"""Plans optimizer steps: textbooks in learning order first, then exercises by the sampler's priority.

A step is planned whole, for all ranks, so that every rank holds equally many rows and the loss can be an exact mean
over the answer tokens of the step, whoever holds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dsa_ray.curriculum.packing import pack_step, split_text
from dsa_ray.curriculum.sampler import Sampler
from dsa_ray.curriculum.table import ExerciseTable
from dsa_ray.records import PackedItem, RowPlan, TextRef
from dsa_ray.sections import TrainConfig

TEXTBOOKS = "textbooks"
EXERCISES = "exercises"
MIN_FILL = 0.5
"""A step whose rows would be emptier waits while more is being written."""
PROBE_SHARE = 0.25
"""At most this share of a step's tokens, or one item, goes to held-out exercises."""

Rows = list[list[PackedItem]]
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
        self.ranks = config.ranks
        """Those of this attempt."""
        self._table = table
        self._sampler = sampler
        self._textbook_rows: list[list[PackedItem]] | None = None
        self._read = self._repeated = 0
        self._steps = {TEXTBOOKS: 0, EXERCISES: 0}
        self.books: set[int] = set()
        """Ids of all textbooks."""
        self._late_rows: list[list[PackedItem]] = []
        self._late_done = self._exercise_rows = self._replayed = 0
        self.late: set[int] = set()
        """Ids of textbooks that came after the first phase was fixed; they are read among the exercises."""
        self.probes: list[tuple[int, int]] = []
        """(held-out exercise, number of the evaluation) that are to go, weight 0, among the rows of the next steps."""
        self.next_step = 1

    @property
    def rows_in_step(self) -> int:
        """Over all ranks."""
        return self.ranks * self._config.rows_per_step

    @property
    def exercise_steps(self) -> int | None:
        """Exercise steps planned so far; None while the textbooks are still being planned."""
        return self._steps[EXERCISES] if self.textbooks_known and not self._unread else None

    @property
    def textbook_steps(self) -> int:
        """Steps of the first phase; 0 until the textbooks are known."""
        unread = len(self._textbook_rows or ()) - self._read if self.textbooks_known else 0
        return self._steps[TEXTBOOKS] + math.ceil(unread / self.rows_in_step)

    @property
    def total_steps(self) -> int:
        return self.textbook_steps + self._config.steps

    @property
    def textbooks_known(self) -> bool:
        return self._textbook_rows is not None

    @property
    def done(self) -> bool:
        """Every step of the run is planned."""
        return self.textbooks_known and not self._unread and self._steps[EXERCISES] >= self._config.steps

    @property
    def _unread(self) -> bool:
        return self._read < len(self._textbook_rows or ())

    def set_textbooks(self, books: list[Book]) -> None:
        """Fix the first phase: the books in the order in which they are read, `textbook_passes` times."""
        self.books = {book[0] for book in books}
        self._textbook_rows = _pack_in_order(books, self._config.row_tokens) * self._config.textbook_passes

    def add_late(self, books: Iterable[Book]) -> None:
        """Textbooks of skills that joined the run later: each is read once, at most one row of a step. Idempotent."""
        if not self._config.textbook_passes:
            return
        for book in books:
            if book[0] not in self.books:
                self.books.add(book[0])
                self.late.add(book[0])
                self._late_rows += _pack_in_order([book], self._config.row_tokens)

    def plan(self, first_lease: int, patient: bool, below: float = math.inf) -> list[RowPlan] | None:
        """The rows of the next step, or None when too little that may be trained is written (or all is planned).

        Args:
            first_lease: number of the first row.
            patient: more is being written, so rows that would stay half empty had better wait for it.
            below: exercises of a lower pass than this alone.
        """
        if not self.textbooks_known or self.done:
            return None
        phase, steps = (TEXTBOOKS, self.textbook_steps) if self._unread else (EXERCISES, self._config.steps)
        rows = self._textbook_step() if self._unread else self._exercise_step(patient, below)
        if not rows:
            return None
        self._steps[phase] += 1
        within = self._steps[phase]
        denominator = sum(item.weight * item.loss_tokens for row in rows for item in row)
        plans = [
            RowPlan(
                lease=first_lease + index,
                rank=index % self.ranks,
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
        return {
            "next_step": self.next_step,
            "read": self._read,
            "repeated": self._repeated,
            "late_done": self._late_done,
            "exercise_rows": self._exercise_rows,
            "replayed": self._replayed,
            "textbook_steps": self._steps[TEXTBOOKS],
            "exercise_steps": self._steps[EXERCISES],
            "probes": [list(probe) for probe in self.probes],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next_step, self._read, self._repeated = state["next_step"], state["read"], state["repeated"]
        self._late_done = state["late_done"]
        self._exercise_rows, self._replayed = state.get("exercise_rows", 0), state.get("replayed", 0)
        self.probes = [(exercise, number) for exercise, number in state.get("probes", ())]
        self._steps = {TEXTBOOKS: state["textbook_steps"], EXERCISES: state["exercise_steps"]}

    def withdraw(self, rows: Sequence[RowPlan]) -> None:
        """Take back the newest planned steps, given as all of their rows: they are planned again, with other ranks.

        The visits of their exercises are undone, the textbooks are read on from where they were.
        """
        if not rows:
            return
        books = [row for row in rows if row.phase == TEXTBOOKS]
        self._read -= len(books) - (self._repeated if books else 0)
        self._repeated = 0 if books else self._repeated
        for phase in (TEXTBOOKS, EXERCISES):
            self._steps[phase] -= len({row.step for row in rows if row.phase == phase})
        self.next_step = min(row.step for row in rows)
        held_out = self._table.held_out
        probes = [(item.exercise, item.visit) for row in rows for item in row.items if item.exercise in held_out]
        self.probes = probes + self.probes
        items = [[item.exercise for item in row.items] for row in rows if row.phase == EXERCISES]
        self._exercise_rows -= len(items)
        self._late_done -= sum(row[0] in self.late for row in items)
        self._replayed -= sum(row[0] in self.books - self.late for row in items)
        apart = self.books | held_out
        self._sampler.untake(exercise for row in items for exercise in row if exercise not in apart)

    def _textbook_step(self) -> list[list[PackedItem]]:
        """The next rows in order; the last step is filled up with the first ones, so that all ranks train equally."""
        assert self._textbook_rows is not None
        count, books = self.rows_in_step, self._textbook_rows
        rows = books[self._read : self._read + count]
        self._read += len(rows)
        self._repeated = count - len(rows)
        return rows + [books[index % len(books)] for index in range(self._repeated)]

    def _exercise_step(self, patient: bool, below: float) -> list[list[PackedItem]]:
        late = self._late_rows[self._late_done : self._late_done + 1]
        again = [] if late else self._read_again()
        count, row_tokens = self.rows_in_step - len(late) - len(again), self._config.row_tokens
        if not count:
            return self._with_books([], late, again)
        probes = self._next_probes(count * row_tokens)
        wanted = _wanted(count, row_tokens, self._table.mean_tokens)
        fresh = self._sampler.peek(wanted, self.next_step, below)
        candidates = np.concatenate([np.array(list(probes), np.int64), fresh])
        rows = pack_step(self._table.tokens(candidates), row_tokens, count)
        if len(rows) < count or not all(rows):
            return []
        taken = [[int(candidates[index]) for index in row] for row in rows]
        filled = sum(int(self._table.tokens(np.asarray(row)).sum()) for row in taken)
        if patient and filled < MIN_FILL * count * row_tokens:
            return []
        trained = [exercise for row in taken for exercise in row if exercise not in probes]
        if not trained:
            return []
        self._sampler.take(trained, self.next_step)
        planned = {exercise for row in taken for exercise in row}
        self.probes = [probe for probe in self.probes if probe[0] not in planned]
        return self._with_books([[self._item(exercise, probes) for exercise in row] for row in taken], late, again)

    def _read_again(self) -> list[list[PackedItem]]:
        """Rows of textbooks that are due among the exercises of the next step (`train.textbook_replay`)."""
        books = self._textbook_rows or []
        due = int(self._config.textbook_replay * (self._exercise_rows + self.rows_in_step)) - self._replayed
        due = min(due, self.rows_in_step)  # more is due after steps that read late textbooks
        return [books[index % len(books)] for index in range(self._replayed, self._replayed + due)] if books else []

    def _with_books(self, rows: Rows, late: Rows, again: Rows) -> Rows:
        """A step of the second phase, counted."""
        self._late_done += len(late)
        self._replayed += len(again)
        self._exercise_rows += self.rows_in_step
        return rows + late + again

    def _next_probes(self, step_tokens: int) -> dict[int, int]:
        """Held-out exercises for the next step, each with the number of its evaluation."""
        found: dict[int, int] = {}
        for exercise, number in self.probes:
            tokens = int(self._table.tokens(np.array([*found, exercise])).sum())
            if found and tokens > PROBE_SHARE * step_tokens:
                break
            found[exercise] = number
        return found

    def _item(self, exercise: int, probes: Mapping[int, int]) -> PackedItem:
        if exercise in probes:
            return self._table.item(exercise, probes[exercise], 0.0)
        probe = exercise in self._table.planted and self._table.probes
        return self._table.item(exercise, self._sampler.visits(exercise), 0.0 if probe else 1.0)


def reading_order(books: Sequence[Any], order: str, seed: int) -> list[Any]:
    """The textbooks, given in learning order, in the order in which they are read.

    Args:
        order: `graph`, `reversed` or `shuffled` (the same for the same seed).
    """
    if order == "reversed":
        return list(reversed(books))
    if order == "shuffled":
        return [books[index] for index in np.random.default_rng(seed).permutation(len(books))]
    return list(books)


def _wanted(rows: int, row_tokens: int, mean_tokens: float) -> int:
    """How many candidates fill the rows, with a look-ahead for the packer."""
    return int(2 * rows * row_tokens / max(1.0, mean_tokens)) + 32


def _pack_in_order(books: list[Book], row_tokens: int) -> list[list[PackedItem]]:
    """Rows of textbook chunks in strict order, packed to full length; chunks are cut as `split_text` says."""
    rows: list[list[PackedItem]] = []
    room = 0
    for book, ref, tokens in books:
        for offset, length in split_text(tokens, room, row_tokens):
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
