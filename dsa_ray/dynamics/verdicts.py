"""The class of an exercise after one cycle of visits.

The order of tests on the mean loss L and its spread sigma over E visits:

1. erroneous       L >= the error threshold  and  sigma <= sigma_b + its standard deviation
2. easy_to_learn   L <  L_average            and  sigma <  sigma_average
3. hard_to_learn   L >= L_average            and  sigma <  sigma_average
4. ambiguous       otherwise

The error threshold lies `error_level` of the way from L_average to L_b. sigma_average is that of the cycles on the same
side of L_average: loss and spread hang together, in a way that changes while the student learns, and with one sigma for
both sides the shares of easy and hard would follow it.

From DSA (arXiv 2412.19361) come the four classes, the quantities and the baseline of constructed wrong answers. Its
inequalities were not published where we could read them: those above are ours, after the regions of Dataset
Cartography (arXiv 2009.10795). Ours too: L and sigma are taken on cohort residuals of the logarithm of the loss, L less
the level of the exercise's skills, the averages are medians over a window, the first verdicts wait, and the guards.

What to expect with E = 3. Half of the exercises of any kind are about as noisy as the rest, so about half are
ambiguous: the spread test is a weak filter, not a measurement. Planted answers are further off than most real errors,
hence the threshold before L_b. Simulated (7,200 exercises, wrong ones 2 to 20 % and rising to 0.9 nats above the right
ones): precision 0.57 to 1.0, recall 0.39 to 0.74, under 2 % called erroneous where nothing is wrong, next to nothing
where half is. Trained, with 5 to 40 % wrong: `jobs/bench/verdicts.py`. Where few are wrong and a student learns
everything at once, two in three of what is called erroneous are right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import numpy as np

from dsa_ray.dynamics.baselines import Baselines, Levels, planted_window
from dsa_ray.dynamics.history import CompletedCycle, cycle_columns, cycles_of_state
from dsa_ray.dynamics.quantiles import by_quantiles
from dsa_ray.records import Verdict, VerdictClass
from dsa_ray.sections import DynamicsConfig

_PLANTED_NEEDED = 6
"""Planted cycles below which L_b is not believed: its standard error is then two fifths of the planted deviation."""

_LEAST_DEVIATIONS = 1.75


def judge(mean: float, spread: float, baselines: Levels, config: DynamicsConfig) -> tuple[VerdictClass, str]:
    """Class of a cycle with this mean and spread of residuals, and the reason with its numbers.

    The reason begins with a code: `erroneous`, `easy`, `hard` or `ambiguous`. Where the error test was not
    made, it ends in the code of the guard that held it back (see `error_test_guard`). With `thresholds: quantiles` the
    class is that of `quantiles.by_quantiles`.
    """
    if config.thresholds == "quantiles":
        return by_quantiles(mean, spread, baselines)
    guard = error_test_guard(baselines, config)
    level = error_threshold(baselines, config)
    highest = baselines.planted_spread + baselines.planted_spread_deviation
    if not guard and mean >= level and spread <= highest:
        return VerdictClass.ERRONEOUS, (
            f"erroneous: mean {mean:.4f} >= {level:.4f} (L_b {baselines.planted_loss:.4f}), "
            f"spread {spread:.4f} <= sigma_b {baselines.planted_spread:.4f} + {baselines.planted_spread_deviation:.4f}"
        )
    verdict, reason = _by_averages(mean, spread, baselines)
    return verdict, f"{reason}; no error test: {guard}" if guard else reason


def error_threshold(baselines: Levels, config: DynamicsConfig) -> float:
    """The mean from which a cycle may be erroneous: `error_level` of the way from L_average to L_b; NaN without L_b.

    Never within 1.75 standard deviations of real means: there right exercises would be called erroneous by chance.
    """
    if config.thresholds == "quantiles":
        return baselines.erroneous_from
    level = baselines.average_loss + config.error_level * (baselines.planted_loss - baselines.average_loss)
    return max(level, baselines.average_loss + _LEAST_DEVIATIONS * baselines.deviation)


def error_score(mean: float, baselines: Levels, config: DynamicsConfig) -> float:
    """How erroneous a cycle looks: its mean's signed distance from the threshold, in standard deviations of real means.

    Where no threshold is known it is the distance from L_average, and 0 where that is not known either. Ranking by it
    is what AUROC measures (`jobs/bench/verdicts.py`); spread and guards take no part. Ours.
    """
    level = error_threshold(baselines, config)
    level = baselines.average_loss if math.isnan(level) else level
    score = (mean - level) / baselines.deviation if baselines.deviation > 0 else 0.0
    return score if math.isfinite(score) else 0.0


def error_test_guard(baselines: Levels, config: DynamicsConfig) -> str:
    """Why the error test cannot be made now; empty when it can.

    - `planted_few`: fewer than 6 planted cycles (or fewer than the planted window holds, where that is smaller).
    - `planted_close`: L_b is not above L_average by more than sigma_average and by more than the standard deviation of
      real means. Early on everything is equally unknown, wrong answers look like right ones, and `L >= L_b` would hold
      for half of the data. One standard deviation leaves at most about a sixth above L_b, of which the spread test
      takes about half; with half of the data wrong, no L_b can pass, and nothing is dropped.
    """
    needed = min(_PLANTED_NEEDED, planted_window(config))
    if baselines.planted_cycles < needed:
        return f"planted_few ({baselines.planted_cycles} of {needed})"
    margin = max(baselines.average_spread, baselines.deviation)
    if not baselines.planted_loss - baselines.average_loss > margin:
        return (
            f"planted_close (L_b {baselines.planted_loss:.4f}, L_average {baselines.average_loss:.4f} + {margin:.4f})"
        )
    return ""


def _by_averages(mean: float, spread: float, baselines: Levels) -> tuple[VerdictClass, str]:
    easy = mean < baselines.average_loss
    highest = baselines.easy_spread if easy else baselines.hard_spread
    if not spread < highest:
        return VerdictClass.AMBIGUOUS, f"ambiguous: spread {spread:.4f} >= sigma_average {highest:.4f}"
    steady = f"spread {spread:.4f} < sigma_average {highest:.4f}"
    if easy:
        return VerdictClass.EASY, f"easy: mean {mean:.4f} < L_average {baselines.average_loss:.4f}, {steady}"
    return VerdictClass.HARD, f"hard: mean {mean:.4f} >= L_average {baselines.average_loss:.4f}, {steady}"


def _of_no_skill(exercise: int) -> tuple[str, ...]:
    return ()


class Judge:
    """Running baselines and the verdicts they give. All cycles of a step enter the baselines before any is judged.

    The first cycles are held back until `burn_in_verdicts` of them are complete, and are then judged together: before,
    the averages are not known. Voiding the step at which they were judged holds them back again.

    Args:
        replays: whether an exercise of these skills only replays what is known. It is judged, but enters no average:
            among what is known by heart all that is taught would look hard and wavering. Ours.
    """

    def __init__(
        self, config: DynamicsConfig, replays: Callable[[tuple[str, ...]], bool] = lambda skills: False
    ) -> None:
        self._config, self._replays = config, replays
        self._needed = max(1, config.burn_in_verdicts)
        self._early: list[CompletedCycle] = []
        self.baselines = Baselines(config)

    def levels(self) -> Levels:
        """What the cycles of the last step were judged by."""
        return self.baselines.levels()

    def verdicts(
        self,
        cycles: Sequence[CompletedCycle],
        is_planted: Callable[[int], bool],
        skills_of: Callable[[int], tuple[str, ...]] = _of_no_skill,
    ) -> list[Verdict]:
        """Verdicts of the real ones among `cycles` (as `LossHistory.completed` gives them); planted ones set L_b.

        Args:
            skills_of: the skills of an exercise, for a planted one those of its question (`dynamics.by_skill`).
        """
        found = []
        for step, group in groupby(cycles, key=lambda cycle: cycle.step):
            found += self._verdicts_of_step(step, list(group), is_planted, skills_of)
        return found

    def void_after(self, step: int) -> None:
        """Forget what later steps brought to the baselines."""
        self.baselines.void_after(step)
        self._early = [cycle for cycle in self._early if cycle.step <= step]

    def state_dict(self) -> dict[str, np.ndarray]:
        return {**self.baselines.state_dict(), **cycle_columns(self._early).state_dict("early")}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self.baselines.load_state_dict(state)
        self._early = cycles_of_state(state, "early")

    def _verdicts_of_step(
        self,
        step: int,
        cycles: list[CompletedCycle],
        is_planted: Callable[[int], bool],
        skills_of: Callable[[int], tuple[str, ...]],
    ) -> list[Verdict]:
        planted = [cycle for cycle in cycles if is_planted(cycle.exercise)]
        real = [cycle for cycle in cycles if not is_planted(cycle.exercise)]
        early = self.baselines.cycles < self._needed
        taught = [cycle for cycle in real if not self._replays(skills_of(cycle.exercise))]
        for group, flag in ((planted, True), (taught, False)):
            skills = [skills_of(cycle.exercise) for cycle in group]
            means, spreads = [cycle.mean for cycle in group], [cycle.spread for cycle in group]
            self.baselines.add(step, means, spreads, planted=flag, skills=skills)
        if self.baselines.cycles < self._needed:
            self._early += real
            return []
        if not real:
            return []
        levels = self.levels()
        judged = [*(self._early if early else ()), *real]
        of_skills = self.baselines.skill_levels([skills_of(cycle.exercise) for cycle in judged])
        return [
            self._verdict(cycle, step, cycle.mean - above, levels)
            for cycle, above in zip(judged, of_skills, strict=True)
        ]

    def _verdict(self, cycle: CompletedCycle, step: int, mean: float, levels: Levels) -> Verdict:
        verdict, reason = judge(mean, cycle.spread, levels, self._config)
        return Verdict(
            exercise=cycle.exercise,
            cycle=cycle.cycle,
            step=step,
            verdict=verdict,
            mean_loss=mean,
            loss_spread=cycle.spread,
            reason=reason,
        )
