"""What became of the children of verdicts: written, trained, and how long after the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsa_ray.records import CHILD_KINDS, Kind


@dataclass(slots=True)
class Children:
    """Feedback lag, measured per child: from the step whose loss completed the verdict to its first trained step."""

    written: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(sorted(CHILD_KINDS), 0))
    trained: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(sorted(CHILD_KINDS), 0))
    lags: list[tuple[int, str, int, float]] = field(default_factory=list)
    """(child, kind, steps, seconds) of every child that was trained on."""
    _ordered: dict[int, tuple[Kind, int, float]] = field(default_factory=dict)
    _first_trained: set[int] = field(default_factory=set)

    def ordered(self, child: int, kind: Kind, step: int, now: float) -> None:
        """A verdict at `step` ordered this child; `now` in seconds of a monotonic clock."""
        self._ordered[child] = (kind, step, now)

    def recall(self, child: int, kind: Kind, step: int, now: float) -> None:
        """A child that steps ordered which were lost since: it is waited for from `step` on."""
        if child not in self._ordered:
            self.ordered(child, kind, step, now)

    def was_written(self, kind: Kind) -> None:
        self.written[kind] += 1

    def observed(self, ids: list[int], step: int, now: float) -> None:
        """These exercises were trained on at `step`; first visits of children are what counts."""
        for child in ids:
            order = self._ordered.get(child)
            if order is None or child in self._first_trained:
                continue
            self._first_trained.add(child)
            kind, ordered_step, ordered_at = order
            self.trained[kind] += 1
            self.lags.append((child, kind.value, step - ordered_step, now - ordered_at))

    def lag_quantiles(self, last: int = 0) -> dict[str, dict[str, float]]:
        """p50 and p95 of the lag in steps and in seconds; zeros when no child was trained on.

        Args:
            last: over so many children that were trained on last; 0 = over all.
        """
        lags = self.lags[-last:]
        steps = np.array([lag[2] for lag in lags] or [0])
        seconds = np.array([lag[3] for lag in lags] or [0.0])
        return {
            "feedback_lag_steps": _quantiles(steps),
            "feedback_lag_s": _quantiles(seconds),
        }

    def facts(self) -> dict[str, dict[str, int]]:
        return {
            kind.value: {"written": self.written[kind], "trained": self.trained[kind]} for kind in sorted(CHILD_KINDS)
        }

    def state_dict(self) -> dict[str, Any]:
        """What goes back with the student's weights. What is written stays, whatever the trainer does."""
        return {
            "trained": {kind.value: n for kind, n in self.trained.items()},
            "lags": [list(lag) for lag in self.lags],
            "ordered": [[child, kind.value, step] for child, (kind, step, _) in self._ordered.items()],
            "first_trained": sorted(self._first_trained),
        }

    def load_state_dict(self, state: dict[str, Any], now: float) -> None:
        """Seconds of children that were still waited for count from now: the clock of another process is not ours."""
        self.trained = {Kind(kind): n for kind, n in state["trained"].items()}
        self.lags = [(child, kind, steps, seconds) for child, kind, steps, seconds in state["lags"]]
        self._ordered = {child: (Kind(kind), step, now) for child, kind, step in state["ordered"]}
        self._first_trained = set(state["first_trained"])


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}
