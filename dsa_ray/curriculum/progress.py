"""What became of the children of verdicts: written, trained, and how long after the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsa_ray.dynamics.columns import Columns
from dsa_ray.dynamics.number_set import NumberSet
from dsa_ray.records import CHILD_KINDS, Kind

_KINDS = tuple(sorted(CHILD_KINDS))
_LAGS = "lags"


def _lags() -> Columns:
    return Columns(child="i4", kind="i1", steps="i4", seconds="f8")


@dataclass(slots=True)
class Children:
    """Feedback lag, measured per child: from the step whose loss completed the verdict to its first trained step."""

    written: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    trained: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    _lags: Columns = field(default_factory=_lags)
    """Of every child that was trained on."""
    _awaited: dict[int, tuple[Kind, int, float]] = field(default_factory=dict)
    """Those that were not trained on yet."""

    def ordered(self, child: int, kind: Kind, step: int, now: float) -> None:
        """A verdict at `step` ordered this child; `now` in seconds of a monotonic clock."""
        self._awaited[child] = (kind, step, now)

    def recall(self, children: Iterable[tuple[int, Kind]], step: int, now: float) -> None:
        """All children there are: those that steps ordered which were lost since are waited for from `step` on."""
        trained = NumberSet(self._lags["child"])
        for child, kind in children:
            if child not in self._awaited and child not in trained:
                self.ordered(child, kind, step, now)

    def was_written(self, kind: Kind) -> None:
        self.written[kind] += 1

    def observed(self, ids: list[int], step: int, now: float) -> None:
        """These exercises were trained on at `step`; first visits of children are what counts."""
        for child in ids:
            order = self._awaited.pop(child, None)
            if order is not None:
                kind, ordered_step, ordered_at = order
                self.trained[kind] += 1
                values = {"steps": step - ordered_step, "seconds": now - ordered_at}
                self._lags.append_one(child=child, kind=_KINDS.index(kind), **values)

    def lags(self) -> list[tuple[int, str, int, float]]:
        """(child, kind, steps, seconds) of every child that was trained on, in that order."""
        child, kind, *values = (self._lags[name].tolist() for name in ("child", "kind", "steps", "seconds"))
        return list(zip(child, [_KINDS[number].value for number in kind], *values, strict=True))

    def lag_quantiles(self, last: int = 0) -> dict[str, dict[str, float]]:
        """p50 and p95 of the lag in steps and in seconds; empty when no child was trained on.

        Args:
            last: over so many children that were trained on last; 0 = over all.
        """
        if not len(self._lags):
            return {}
        return {
            "feedback_lag_steps": _quantiles(self._lags["steps"][-last:]),
            "feedback_lag_s": _quantiles(self._lags["seconds"][-last:]),
        }

    def facts(self) -> dict[str, dict[str, int]]:
        return {kind.value: {"written": self.written[kind], "trained": self.trained[kind]} for kind in _KINDS}

    def state_dict(self) -> dict[str, Any]:
        """What goes back with the student's weights. What is written stays, whatever the trainer does."""
        return {
            "trained": {kind.value: n for kind, n in self.trained.items()},
            "awaited": [[child, kind.value, step] for child, (kind, step, _) in self._awaited.items()],
            **self._lags.state_dict(_LAGS),
        }

    def load_state_dict(self, state: Mapping[str, Any], now: float) -> None:
        """Seconds of children that were still waited for count from now: the clock of another process is not ours."""
        if "first_trained" in state:
            state = _of_earlier_release(state)
        self.trained = {Kind(kind): n for kind, n in state["trained"].items()}
        self._awaited = {child: (Kind(kind), step, now) for child, kind, step in state["awaited"]}
        self._lags.load_state_dict(state, _LAGS)


def _of_earlier_release(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a checkpoint that kept lists instead of columns."""
    lags, trained = _lags(), set(state["first_trained"])
    for child, kind, steps, seconds in state["lags"]:
        lags.append_one(child=child, kind=_KINDS.index(Kind(kind)), steps=steps, seconds=seconds)
    awaited = [each for each in state["ordered"] if each[0] not in trained]
    return {"trained": state["trained"], "awaited": awaited, **lags.state_dict(_LAGS)}


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p95": float(np.percentile(values, 95))}
