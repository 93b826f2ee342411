"""What a cycle is compared with: the running averages of real exercises, and the level of planted wrong answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dsa_ray.dynamics.columns import Columns
from dsa_ray.dynamics.skill_levels import SkillLevels
from dsa_ray.sections import DynamicsConfig, QuantilesConfig

_LONG = 4
"""Windows over which levels of skills and of planted wrong answers are taken: one holds few cycles of each."""
_PLANTED = 16
"""Planted cycles that L_b is taken over at least; over many more it lags behind a student that learns fast."""
Skills = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The baselines at one step. All means are cohort residuals less the level of their skills; NaN: nothing is known.

    With `thresholds: quantiles` the last four are what classes are told apart by; else they are NaN.
    """

    average_loss: float
    """L_average: median of the cycle means of real exercises."""
    average_spread: float
    """sigma_average: median of their spreads over visits."""
    deviation: float
    """Standard deviation of the cycle means between real exercises."""
    cycles: int
    """Real cycles completed so far (not only those in the window)."""
    easy_spread: float = math.nan
    """sigma_average of the cycles below L_average."""
    hard_spread: float = math.nan
    """sigma_average of the others."""
    planted_loss: float = math.nan
    """L_b: mean of the cycle means of planted wrong answers."""
    planted_spread: float = math.nan
    """sigma_b: mean of their spreads."""
    planted_spread_deviation: float = math.nan
    """Standard deviation of their spreads."""
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

    The averages are medians over the last `window` real cycles. L_b and sigma_b run over the last `planted_window`
    planted cycles: the loss of a wrong answer rises away from the average as the student learns, so old ones must
    leave. DSA takes means over the whole set at the end of a three-epoch cycle. Windows are ours, for a stream has no
    such end, and so are medians: while some skills are known and others are not, a mean lies between two groups.

    With `by_skill` the level of its skills is taken off every mean, planted or not, before it is compared: how far
    cycles of these skills lay above L_average. With one average for all, what is new looks erroneous. Ours.

    Inline and probe baselines differ only in whether the planted are trained on; here they are the same. Inline, the
    student learns some wrong answers by heart: L_b is lower and sigma_b higher than with a probe.
    """

    def __init__(self, config: DynamicsConfig) -> None:
        self._window = config.window
        self._by_skill = config.by_skill
        self._shares = config.quantiles if config.thresholds == "quantiles" else None
        self._planted_window = planted_window(config)
        self._real = Columns(step="i4", mean="f8", spread="f8", skills="i4", above="f8")
        self._planted = Columns(step="i4", mean="f8", spread="f8", skills="i4")
        self._skills = SkillLevels()
        self._fitted = False

    @property
    def cycles(self) -> int:
        """Real cycles so far."""
        return len(self._real)

    def add(
        self,
        step: int,
        means: Sequence[float],
        spreads: Sequence[float],
        *,
        planted: bool,
        skills: Sequence[Skills] | None = None,
    ) -> None:
        """Add the cycles that completed at `step`; steps may not go back.

        A planted cycle without a finite mean (measured before any real exercise) is left out.

        Args:
            skills: those of each exercise; without, it is compared with all.

        Raises:
            ValueError: `step` lies before one already added.
        """
        columns = self._planted if planted else self._real
        if len(columns) and step < columns["step"][-1]:
            raise ValueError(f"step {step} lies before step {columns['step'][-1]}, already in the baselines")
        mean = np.asarray(means, "f8")
        kept = np.isfinite(mean)
        if not kept.any():
            return
        codes = np.array([self._skills.code(each) for each in skills or [()] * len(mean)], "i4")[kept]
        rows = {"step": step, "mean": mean[kept], "spread": np.asarray(spreads, "f8")[kept], "skills": codes}
        if planted:
            self._planted.append(**rows)
        else:
            recent = np.concatenate((self._real["mean"][-self._window :], rows["mean"]))[-self._window :]
            self._real.append(**rows, above=rows["mean"] - np.median(recent))
        self._fitted = False

    def skill_levels(self, skills: Sequence[Skills]) -> list[float]:
        """What is taken off the means of exercises of these skills now; 0 where nothing is known of them."""
        return self._skill_levels(np.array([self._skills.code(each) for each in skills], "i8")).tolist()

    def levels(self) -> Levels:
        """The baselines as they stand."""
        means, spreads = self._last(self._real, self._window)
        wrong, wrong_spreads = self._last(self._planted, self._planted_window)
        average = _median(means)
        return Levels(
            average_loss=average,
            average_spread=_median(spreads),
            deviation=float(means.std()) if means.size else math.nan,
            cycles=self.cycles,
            easy_spread=_median(spreads[means < average]),
            hard_spread=_median(spreads[means >= average]),
            planted_loss=_mean(wrong),
            planted_spread=_mean(wrong_spreads),
            planted_spread_deviation=float(wrong_spreads.std()) if wrong.size else math.nan,
            planted_cycles=len(wrong),
            **(_quantiles(means, spreads, self._shares) if self._shares and means.size else {}),
        )

    def void_after(self, step: int) -> None:
        """Forget the cycles that completed at later steps; the windows reach back to what they held before."""
        for columns in (self._real, self._planted):
            columns.truncate(int(np.searchsorted(columns["step"], step, side="right")))
        self._fitted = False

    def state_dict(self) -> dict[str, np.ndarray]:
        return {
            **self._real.state_dict("real"),
            **self._planted.state_dict("planted"),
            **self._skills.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self._real.load_state_dict(state, "real")
        self._planted.load_state_dict(state, "planted")
        self._skills.load_state_dict(state)
        self._fitted = False

    def _last(self, columns: Columns, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Means, less the levels of their skills, and spreads of the last cycles."""
        mean, spread, skills = (columns[name][-count:] for name in ("mean", "spread", "skills"))
        return mean - self._skill_levels(skills), spread

    def _skill_levels(self, codes: np.ndarray) -> np.ndarray:
        """Of combinations of skills, given by their codes."""
        if not self._fitted:
            reach = _LONG * self._window if self._by_skill else 0
            skills, above = (self._real[name][max(0, self.cycles - reach) :] for name in ("skills", "above"))
            self._skills.fit(skills, above)
            self._fitted = True
        return self._skills.levels(codes)


def planted_window(config: DynamicsConfig) -> int:
    """Planted cycles over which L_b runs: the planted share of four windows, and 16 where that is less."""
    return max(2, min(_PLANTED, config.planted_min), math.ceil(config.planted_share * _LONG * config.window))


def _quantiles(means: np.ndarray, spreads: np.ndarray, shares: QuantilesConfig) -> dict[str, float]:
    """The thresholds by shares: first the spread decides, then the mean among those of less spread."""
    highest = float(np.quantile(spreads, 1 - shares.ambiguous))
    steady = means[spreads <= highest]
    places = (1 - shares.erroneous, 1 - shares.hard, shares.easy)
    erroneous, hard, easy = np.quantile(steady, places).tolist()
    return {"highest_spread": highest, "erroneous_from": erroneous, "hard_from": hard, "easy_below": easy}


def _mean(values: np.ndarray) -> float:
    return math.fsum(values.tolist()) / values.size if values.size else math.nan


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else math.nan
