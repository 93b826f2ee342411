"""The rule of thresholds by shares, after the regions of Dataset Cartography (arXiv 2009.10795).

Cartography has no thresholds: its regions are the top fractions by one metric, and no region of errors; it only notes
that mislabelled examples lie where the mean is highest. The shares, their order and the region of errors are ours:

1. ambiguous       sigma above its quantile
2. erroneous       L in the highest `erroneous` share of the others
3. hard_to_learn   L in their highest `hard` share
4. easy_to_learn   L in their lowest `easy` share
5. ambiguous       between the two

The rule calls its share of the exercises erroneous whatever the data is: it has no way to see that nothing is wrong.
"""

from __future__ import annotations

from dsa_ray.dynamics.baselines import Levels
from dsa_ray.records import VerdictClass


def by_quantiles(mean: float, spread: float, levels: Levels) -> tuple[VerdictClass, str]:
    """Class and reason of a cycle; the codes are `ambiguous`, `erroneous`, `hard`, `easy` and `between`.

    Args:
        levels: with the four quantiles (`dynamics.thresholds: quantiles`).
    """
    if spread > levels.highest_spread:
        return VerdictClass.AMBIGUOUS, f"ambiguous: spread {spread:.4f} > quantile {levels.highest_spread:.4f}"
    steady = f"spread {spread:.4f} <= quantile {levels.highest_spread:.4f}"
    if mean > levels.erroneous_from:
        return VerdictClass.ERRONEOUS, f"erroneous: mean {mean:.4f} > quantile {levels.erroneous_from:.4f}, {steady}"
    if mean > levels.hard_from:
        return VerdictClass.HARD, f"hard: mean {mean:.4f} > quantile {levels.hard_from:.4f}, {steady}"
    if mean < levels.easy_below:
        return VerdictClass.EASY, f"easy: mean {mean:.4f} < quantile {levels.easy_below:.4f}, {steady}"
    between = f"quantiles {levels.easy_below:.4f} and {levels.hard_from:.4f}"
    return VerdictClass.AMBIGUOUS, f"between: mean {mean:.4f} between {between}, {steady}"
