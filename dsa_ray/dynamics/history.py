"""Per-visit losses of every exercise, compared within their time.

An exercise's loss counts as its residual against its *cohort*: the mean loss of all real exercises over the same steps.
A mean over the whole run would make early exercises hard and late ones easy whatever they are, since the loss falls
while exercises keep arriving. The residual is ours; DSA (arXiv 2412.19361) measures all exercises at the end of an
epoch, where the question does not arise.

What a cohort does not take out is the number of the visit: if the student learns by heart, a first visit among many
third ones looks harder than one among first ones. Cycles are therefore compared with cycles that completed at about
the same time (`baselines`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dsa_ray.dynamics.columns import Columns
from dsa_ray.dynamics.index import DenseIndex
from dsa_ray.dynamics.pending import Pending, checked, distinct, joined
from dsa_ray.sections import DynamicsConfig

_NONE = -1
_FLOOR = 0.01
"""Nats: differences between losses far below it do not count."""


class CompletedCycle(NamedTuple):
    """An exercise whose E visits of one cycle are all known."""

    exercise: int
    cycle: int
    """0-based: visits cycle*E+1 .. (cycle+1)*E."""
    mean: float
    """Mean of the E residuals of what `dynamics.measure` says: nats, or their logarithm, or 1 - exp(-loss)."""
    spread: float
    """Their population standard deviation."""
    step: int
    """The step whose closing completed the cycle."""


class VisitLoss(NamedTuple):
    """One visit as it was measured."""

    visit: int
    step: int
    loss: float
    residual: float


class LossHistory:
    """Columnar record of all visits; losses become residuals when their step is closed.

    Rows wait until `close_step(step)`; only then is the cohort mean taken, over the real (not planted) rows of the
    `cohort_steps` steps up to and including this one, each example with equal weight (a token mean would call long
    exercises easy or hard by their length). So nothing depends on the order in which ranks report. Steps close in
    rising order; a step without exercises (textbooks) may be closed or left out.

    Planted wrong answers are marked with `mark_planted`. They get residuals and cycles, but never enter a cohort mean.

    Rows of one exercise are chained from the newest back, so voiding steps is an exact undo.
    """

    def __init__(self, config: DynamicsConfig) -> None:
        self._visits_per_cycle = config.visits
        self._cohort_steps = config.cohort_steps
        self._measured = MEASURES[config.measure]
        self.closed = 0
        """The newest closed step."""
        self._reset()

    def _reset(self) -> None:
        self._index = DenseIndex()
        self._slots = Columns(exercise="i4", newest="i4", planted="?")
        self._rows = Columns(slot="i4", step="i4", visit="i4", loss="f8", residual="f8", older="i4")
        self._cohorts = Columns(step="i4", total="f8", count="i8", mean="f8")
        self._pending: dict[int, Pending] = {}
        self._completed: list[CompletedCycle] = []

    def mark_planted(self, exercises: Iterable[int]) -> None:
        """Declare ids to be planted wrong answers, before a step with their losses is closed. Idempotent.

        Raises:
            ValueError: an id has counted as a real exercise already.
        """
        slots = self._slots_for(np.array(list(exercises), "i8"))
        fresh = slots[~self._slots["planted"][slots]]
        counted = fresh[self._slots["newest"][fresh] != _NONE]
        if counted.size:
            raise ValueError(
                f"exercise {self._slots['exercise'][counted[0]]} cannot be planted: it has counted as real"
            )
        self._slots["planted"][slots] = True

    def is_planted(self, exercise: int) -> bool:
        slot = self._index.get(exercise)
        return slot != _NONE and self._slots["planted"].item(slot)

    @property
    def nbytes(self) -> int:
        """Memory of everything that is kept per exercise and per visit."""
        return self._index.nbytes + self._slots.nbytes + self._rows.nbytes + self._cohorts.nbytes

    def observe(
        self, step: int, ids: Sequence[int], visits: Sequence[int], losses: Sequence[float], tokens: Sequence[int]
    ) -> None:
        """Take the losses (nats per answer token) that one rank measured at `step`. A repeated report changes nothing.

        Args:
            visits: 1-based visit of each exercise.
            tokens: answer tokens of each exercise, at least 1.

        Raises:
            ValueError: a loss that is not finite, a visit below 1, no tokens, a new row for a closed step, or a visit
                that was reported before with another step or loss. Then no row of the call is taken.
        """
        rows = checked(ids, visits, losses, tokens)
        known = self._closed_steps_of(rows)
        for place in np.flatnonzero(known != _NONE):
            self._check_repeated(rows, place, step, int(known[place]))
        fresh = rows.at(np.flatnonzero(known == _NONE))
        if len(fresh.keys) and step <= self.closed:
            raise ValueError(f"{fresh.name(0)}: step {step} is closed, no row can be added to it")
        fresh = distinct(fresh, f"two losses in one report of step {step}")
        for other, pending in self._pending.items():
            _, here, there = np.intersect1d(fresh.keys, pending.keys, assume_unique=True, return_indices=True)
            unlike = (fresh.losses[here] != pending.losses[there]) | (fresh.tokens[here] != pending.tokens[there])
            if here.size and (other != step or unlike.any()):
                raise ValueError(f"{fresh.name(here[0])}: reported for step {other}, then for {step}")
        if len(fresh.keys):
            before = self._pending.get(step)
            self._pending[step] = fresh if before is None else joined(before, fresh)

    def close_step(self, step: int) -> None:
        """Say that every rank has reported `step`: its rows get residuals, cycles may complete. Idempotent.

        Raises:
            ValueError: an earlier step holds rows and is not closed.
        """
        if step <= self.closed:
            return
        if early := [other for other in self._pending if other < step]:
            raise ValueError(f"step {min(early)} holds losses and must be closed before step {step}")
        pending = self._pending.pop(step, None)
        self.closed = step
        if pending:
            first = self._append(step, pending)
            self._complete(first)

    def completed(self) -> list[CompletedCycle]:
        """Cycles completed since the last call, planted ones included, by step, exercise, cycle; each given once."""
        given, self._completed = self._completed, []
        return given

    def losses_of(self, exercise: int) -> list[VisitLoss]:
        """All visits of an exercise at closed steps, oldest first; empty for an unknown one."""
        visits = []
        slot = self._index.get(exercise)
        row = self._slots["newest"][slot] if slot != _NONE else _NONE
        while row != _NONE:
            visit, step, loss, residual = (self._rows[name][row] for name in ("visit", "step", "loss", "residual"))
            visits.append(VisitLoss(int(visit), int(step), float(loss), float(residual)))
            row = self._rows["older"][row]
        return visits[::-1]

    def void_after(self, step: int) -> None:
        """Forget every loss of later steps, as if they had never been trained; planted marks stay."""
        first = int(np.searchsorted(self._rows["step"], step, side="right"))
        # Newest first, so that an exercise voided several times ends at its last remaining row.
        self._slots["newest"][self._rows["slot"][first:][::-1]] = self._rows["older"][first:][::-1]
        self._rows.truncate(first)
        self._cohorts.truncate(int(np.searchsorted(self._cohorts["step"], step, side="right")))
        self._completed = [cycle for cycle in self._completed if cycle.step <= step]
        self._pending = {other: rows for other, rows in self._pending.items() if other <= step}
        self.closed = min(self.closed, step)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything, as numpy arrays (no pickled objects)."""
        waiting = Columns(step="i4", exercise="i8", visit="i4", loss="f8", tokens="i4")
        for step, rows in self._pending.items():
            key = {"step": step, "exercise": rows.exercises, "visit": rows.visits}
            waiting.append(**key, loss=rows.losses, tokens=rows.tokens)
        return {
            "closed": np.array(self.closed),
            **self._slots.state_dict("slots"),
            **self._rows.state_dict("rows"),
            **self._cohorts.state_dict("cohorts"),
            **waiting.state_dict("pending"),
            **cycle_columns(self._completed).state_dict("completed"),
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace everything by what `state_dict` gave."""
        self._reset()
        self.closed = int(state["closed"])
        self._slots.load_state_dict(state, "slots")
        self._rows.load_state_dict(state, "rows")
        self._cohorts.load_state_dict(state, "cohorts")
        self._index.put(self._slots["exercise"], np.arange(len(self._slots)))
        steps, *columns = (state[f"pending.{name}"] for name in ("step", "exercise", "visit", "loss", "tokens"))
        for step in dict.fromkeys(steps.tolist()):
            self._pending[step] = checked(*(column[steps == step] for column in columns))
        self._completed = cycles_of_state(state, "completed")

    def _slots_for(self, exercises: np.ndarray) -> np.ndarray:
        """Slots of exercises, new ones made where needed, in the order in which they come."""
        slots = self._index.many(exercises)
        unknown = exercises[slots == _NONE]
        if unknown.size:
            _, first = np.unique(unknown, return_index=True)
            new = unknown[np.sort(first)]
            self._index.put(new, np.arange(len(self._slots), len(self._slots) + len(new)))
            self._slots.append(exercise=new, newest=_NONE, planted=False)
            slots = self._index.many(exercises)
        return slots

    def _closed_steps_of(self, rows: Pending) -> np.ndarray:
        """The closed step at which each (exercise, visit) was measured, or -1."""
        found = np.full(len(rows.keys), _NONE, "i8")
        slots, visits = self._index.many(rows.exercises), rows.visits
        at = np.flatnonzero(slots != _NONE)
        row = self._slots["newest"][slots[at]]
        while (alive := row != _NONE).any():
            at, row = at[alive], row[alive]
            same = self._rows["visit"][row] == visits[at]
            found[at[same]] = self._rows["step"][row[same]]
            row = self._rows["older"][row]
        return found

    def _check_repeated(self, rows: Pending, place: int, step: int, known_step: int) -> None:
        visit, loss = int(rows.visits[place]), float(rows.losses[place])
        measured = next(past for past in self.losses_of(int(rows.exercises[place])) if past.visit == visit)
        if known_step != step or measured.loss != loss:
            raise ValueError(
                f"{rows.name(place)}: loss {measured.loss} at step {known_step} is recorded, now {loss} at step {step}"
            )

    def _append(self, step: int, pending: Pending) -> int:
        """Add the rows of a step in canonical order; returns the first row's index."""
        pending = pending.at(np.argsort(pending.keys))
        first, count, losses = len(self._rows), len(pending.keys), pending.losses
        slots = self._slots_for(pending.exercises)
        measured = self._measured(losses)
        rows = np.arange(first, first + count)
        same_as_before = np.concatenate(([False], slots[1:] == slots[:-1]))
        older = np.where(same_as_before, rows - 1, self._slots["newest"][slots])
        self._slots["newest"][slots] = rows  # the last of an exercise's rows wins
        self._rows.append(
            slot=slots,
            step=step,
            visit=pending.visits,
            loss=losses,
            residual=measured - self._cohort_mean(step, measured[~self._slots["planted"][slots]]),
            older=older,
        )
        return first

    def _cohort_mean(self, step: int, losses: np.ndarray) -> float:
        """Mean over the real rows of the window that ends here; sums are exactly rounded, so order is of no matter."""
        self._cohorts.append(step=step, total=math.fsum(losses.tolist()), count=len(losses), mean=math.nan)
        start = int(np.searchsorted(self._cohorts["step"], step - self._cohort_steps, side="right"))
        count = int(self._cohorts["count"][start:].sum())
        if count:
            mean = math.fsum(self._cohorts["total"][start:].tolist()) / count
        else:  # only planted rows in the window: the last mean known before, if any
            mean = float(self._cohorts["mean"][-2]) if len(self._cohorts) > 1 else math.nan
        self._cohorts["mean"][-1] = mean
        return mean

    def _complete(self, first: int) -> None:
        """Find cycles that the rows from `first` on complete, each by walking back its exercise's chain."""
        size = self._visits_per_cycle
        cycle_of = (self._rows["visit"][first:] - 1) // size
        residuals = np.empty((len(cycle_of), size))
        residuals[:, 0] = self._rows["residual"][first:]
        found = np.ones(len(cycle_of), "i8")
        at, row = np.arange(len(cycle_of)), self._rows["older"][first:]
        while (alive := row != _NONE).any():
            at, row = at[alive], row[alive]
            same = (self._rows["visit"][row] - 1) // size == cycle_of[at]
            residuals[at[same], found[at[same]]] = self._rows["residual"][row[same]]
            found[at[same]] += 1
            row = self._rows["older"][row]
        done = np.flatnonzero(found == size)
        if not done.size:
            return
        exercises = self._slots["exercise"][self._rows["slot"][first + done]]
        columns = (exercises, cycle_of[done], residuals[done].mean(axis=1), residuals[done].std(axis=1))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self._completed += [CompletedCycle(*row, self.closed) for row in rows]


def _unchanged(losses: np.ndarray) -> np.ndarray:
    return losses


def _logarithm(losses: np.ndarray) -> np.ndarray:
    """Floored, or what is known by heart would have no bound below."""
    return np.log(losses + _FLOOR)


def _doubt(losses: np.ndarray) -> np.ndarray:
    """1 - exp(-loss): one minus the confidence in an answer's tokens (their geometric mean), so that high is hard."""
    return -np.expm1(-losses)


MEASURES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "loss": _unchanged,
    "log_loss": _logarithm,
    "confidence": _doubt,
}
"""`dynamics.measure`: from losses, nats, to what residuals are taken of."""


def cycle_columns(cycles: Sequence[CompletedCycle]) -> Columns:
    """Cycles as columns, for a state."""
    columns = Columns(exercise="i8", cycle="i4", mean="f8", spread="f8", step="i4")
    if cycles:
        values = zip(CompletedCycle._fields, zip(*cycles, strict=True), strict=True)
        columns.append(**{name: np.array(column) for name, column in values})
    return columns


def cycles_of_state(state: Mapping[str, np.ndarray], prefix: str) -> list[CompletedCycle]:
    """The cycles that `cycle_columns` had, back from a state."""
    columns = (state[f"{prefix}.{name}"].tolist() for name in CompletedCycle._fields)
    return [CompletedCycle(*values) for values in zip(*columns, strict=True)]
