"""The newest verdict of every exercise, without its words: those are in the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from dsa_ray.dynamics.columns import Columns
from dsa_ray.dynamics.index import NOWHERE, DenseIndex
from dsa_ray.records import Verdict, VerdictClass

_CLASSES = tuple(VerdictClass)
_PREFIX = "verdicts"


class LatestVerdicts:
    """Columns over judged exercises; a later verdict replaces an earlier one."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._index = DenseIndex()
        self._columns = Columns(exercise="i4", verdict="i1", mean_loss="f8", loss_spread="f8")

    def __len__(self) -> int:
        return len(self._columns)

    def put(self, verdict: Verdict) -> None:
        values = {"verdict": _CLASSES.index(verdict.verdict)}
        values |= {"mean_loss": verdict.mean_loss, "loss_spread": verdict.loss_spread}
        slot = self._index.get(verdict.exercise)
        if slot == NOWHERE:
            self._index.put_one(verdict.exercise, len(self._columns))
            self._columns.append_one(exercise=verdict.exercise, **values)
            return
        for name, value in values.items():
            self._columns[name][slot] = value

    def facts(self, exercise: int) -> dict[str, str | float | None]:
        """`verdict`, `mean_loss` and `loss_spread`; None where there is no verdict yet."""
        slot = self._index.get(exercise)
        if slot == NOWHERE:
            return dict.fromkeys(("verdict", "mean_loss", "loss_spread"))
        columns = self._columns
        return {
            "verdict": _CLASSES[columns["verdict"].item(slot)].value,
            "mean_loss": columns["mean_loss"].item(slot),
            "loss_spread": columns["loss_spread"].item(slot),
        }

    def classes(self) -> Iterator[tuple[int, VerdictClass]]:
        """(exercise, class) of all that are judged."""
        columns = zip(self._columns["exercise"].tolist(), self._columns["verdict"].tolist(), strict=True)
        return ((exercise, _CLASSES[number]) for exercise, number in columns)

    def state_dict(self) -> dict[str, np.ndarray]:
        return self._columns.state_dict(_PREFIX)

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace everything by what `state_dict` gave."""
        self._reset()
        self._columns.load_state_dict(state, _PREFIX)
        self._index.put(self._columns["exercise"], np.arange(len(self._columns)))
