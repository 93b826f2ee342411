"""What a cycle is compared with: the running averages of real exercises, and the level of planted wrong answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dsa_ray.config import DynamicsConfig, QuantilesConfig
from dsa_ray.dynamics.columns import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The baselines at one step. All losses are cohort residuals in nats; NaN where nothing is known.

    With `thresholds: quantiles` the last four are what classes are told apart by; else they are NaN.
    """

    average_loss: float
    """L_average: mean of the cycle means of real exercises."""
    average_spread: float
    """sigma_average: mean of their spreads over visits."""
    deviation: float
    """Standard deviation of the cycle means between real exercises."""
    cycles: int
    """Real cycles completed so far (not only those in the window)."""
    planted_loss: float = math.nan
    """L_b: mean of the cycle means of planted wrong answers."""
    planted_spread: float = math.nan
    """sigma_b: mean of their spreads."""
    planted_cycles: int = 0
    """Planted cycles that L_b rests on."""
    highest_spread: float = math.nan
    """The quantile of the spreads above which `quantiles.ambiguous` of the real cycles lie."""
    erroneous_from: float = math.nan
    """The quantile of the means at which `quantiles.erroneous` begins; as the next two, of cycles of less spread."""
    hard_from: float = math.nan
    """The same for `quantiles.hard`."""
    easy_below: float = math.nan
    """The quantile of the means below which `quantiles.easy` of them lie."""


class Baselines:
    """Running averages over the last cycles, real and planted apart.

    The averages run over the last `window` real cycles. L_b and sigma_b run over the last `planted_window` planted
    cycles: the loss of a wrong answer rises away from the average as the student learns, so old ones must leave. DSA
    takes both over the whole set at the end of a three-epoch cycle; windows are ours, for a stream has no such end.

    Inline and probe baselines differ only in whether the planted are trained on; here they are the same. Inline, the
    student learns some wrong answers by heart: L_b is lower and sigma_b higher than with a probe.
    """

    def __init__(self, config: DynamicsConfig) -> None:
        self._window = config.window
        self._shares = config.quantiles if config.thresholds == "quantiles" else None
        self._planted_window = planted_window(config)
        self._real = Columns(step="i4", mean="f8", spread="f8")
        self._planted = Columns(step="i4", mean="f8", spread="f8")

    def add(self, step: int, means: Sequence[float], spreads: Sequence[float], *, planted: bool) -> None:
        """Add the cycles that completed at `step`; steps may not go back.

        A planted cycle without a finite mean (measured before any real exercise) is left out.

        Raises:
            ValueError: `step` lies before one already added.
        """
        columns = self._planted if planted else self._real
        if len(columns) and step < columns["step"][-1]:
            raise ValueError(f"step {step} lies before step {columns['step'][-1]}, already in the baselines")
        kept = np.isfinite(np.asarray(means, "f8"))
        if kept.any():
            columns.append(step=step, mean=np.asarray(means, "f8")[kept], spread=np.asarray(spreads, "f8")[kept])

    def levels(self) -> Levels:
        """The baselines as they stand."""
        means, spreads = (self._real[name][-self._window :] for name in ("mean", "spread"))
        wrong, wrong_spreads = (self._planted[name][-self._planted_window :] for name in ("mean", "spread"))
        return Levels(
            average_loss=_mean(means),
            average_spread=_mean(spreads),
            deviation=float(means.std()) if means.size else math.nan,
            cycles=len(self._real),
            planted_loss=_mean(wrong),
            planted_spread=_mean(wrong_spreads),
            planted_cycles=len(wrong),
            **(_quantiles(means, spreads, self._shares) if self._shares and means.size else {}),
        )

    def void_after(self, step: int) -> None:
        """Forget the cycles that completed at later steps; the windows reach back to what they held before."""
        for columns in (self._real, self._planted):
            columns.truncate(int(np.searchsorted(columns["step"], step, side="right")))

    def state_dict(self) -> dict[str, np.ndarray]:
        return {**self._real.state_dict("real"), **self._planted.state_dict("planted")}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self._real.load_state_dict(state, "real")
        self._planted.load_state_dict(state, "planted")


def planted_window(config: DynamicsConfig) -> int:
    """Planted cycles over which L_b runs: `planted_min`, or the planted share of the window where that is more."""
    return max(2, config.planted_min, math.ceil(config.planted_share * config.window))


def _quantiles(means: np.ndarray, spreads: np.ndarray, shares: QuantilesConfig) -> dict[str, float]:
    """The thresholds by shares: first the spread decides, then the mean among those of less spread."""
    highest = float(np.quantile(spreads, 1 - shares.ambiguous))
    steady = means[spreads <= highest]
    places = (1 - shares.erroneous, 1 - shares.hard, shares.easy)
    erroneous, hard, easy = np.quantile(steady, places).tolist()
    return {"highest_spread": highest, "erroneous_from": erroneous, "hard_from": hard, "easy_below": easy}


def _mean(values: np.ndarray) -> float:
    return math.fsum(values.tolist()) / values.size if values.size else math.nan
