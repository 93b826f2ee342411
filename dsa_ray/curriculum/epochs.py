"""The epoch-wise schedule of the paper: the same loop over a finite source, with a barrier between epochs.

    an epoch     every exercise of its set once, one of weight 1/2 every other time; nothing joins while it lasts
    its end      all of it is trained -> its verdicts order children -> these are written -> they join the next epoch

The continuous schedule has none of this. It is the arm of the benchmarks that the continuous one is compared with, and
what a reproduction of DSA (arXiv 2412.19361) wants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from dsa_ray.curriculum.sampler import Sampler
from dsa_ray.records import Verdict, VerdictClass


class Epochs:
    """Holds back what is written and what is decided until an epoch ends.

    A sampler's pass is the number of visits that an exercise of weight 1 has had, so epoch n is all passes below n.

    Args:
        on: False for the continuous schedule: nothing is held back, and there is one endless epoch.
    """

    def __init__(self, on: bool, sampler: Sampler) -> None:
        self.on = on
        self._sampler = sampler
        self.number = 0
        """The epoch that is trained, from 1; 0 before the first."""
        self._held: list[tuple[int, bool]] = []
        self._verdicts: list[Verdict] = []

    @property
    def held(self) -> int:
        """Exercises that wait for the next epoch."""
        return len(self._held)

    @property
    def limit(self) -> float:
        """Exercises of a pass below this may be trained now."""
        return float(self.number) if self.on else math.inf

    def add(self, exercise: int, front: bool) -> None:
        """An exercise is written: it joins now, or with the next epoch."""
        if self.on:
            self._held.append((exercise, front))
        else:
            self._sampler.add(exercise, 1.0, front=front)

    def later(self, verdicts: Iterable[Verdict]) -> list[Verdict]:
        """The verdicts to carry out now; those of an epoch wait for its end."""
        if not self.on:
            return list(verdicts)
        self._verdicts += verdicts
        return []

    def end(self, carry_out: Callable[[Verdict], None]) -> None:
        """Every exercise of the epoch is trained and observed: what its verdicts say is done. Idempotent."""
        verdicts, self._verdicts = self._verdicts, []
        for verdict in verdicts:
            carry_out(verdict)

    def begin(self, least: int) -> bool:
        """Let what was held back join, and begin the next epoch. False when fewer than `least` may be trained on."""
        held, self._held = self._held, []
        for exercise, front in held:
            self._sampler.add(exercise, 1.0, front=front, floor=float(self.number))
        if self._sampler.eligible < max(1, least):
            return False
        self.number += 1
        return True

    def state_dict(self) -> dict[str, Any]:
        """What is held back is known to whoever restores: it is all that is written and in no sampler."""
        return {"number": self.number, "verdicts": [asdict(verdict) for verdict in self._verdicts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.number, self._held = state["number"], []
        self._verdicts = [Verdict(**{**row, "verdict": VerdictClass(row["verdict"])}) for row in state["verdicts"]]
