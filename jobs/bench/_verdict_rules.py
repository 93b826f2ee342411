"""Rules of judgement, tried on the loss history of one run whose truth is known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from _verdict_runs import Run

from dsa_ray.config import DynamicsConfig
from dsa_ray.dynamics.baselines import Baselines, Levels
from dsa_ray.dynamics.history import MEASURES, LossHistory
from dsa_ray.dynamics.verdicts import error_score, judge
from dsa_ray.records import VerdictClass

COMMON = {"planted_min": 32}
BEST = {"measure": "log_loss", "error_level": 0.5, "window": 128}
RULES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "inline": ("inline", {}),
    "probe": ("probe", {}),
    "copy": ("copy", {}),
    "quantiles": ("none", {"thresholds": "quantiles"}),
    "inline, log_loss 0.5": ("inline", BEST),
    "probe, log_loss 0.5": ("probe", BEST),
    "copy, log_loss 0.5": ("copy", BEST),
    "quantiles, log_loss": ("none", {"thresholds": "quantiles", "measure": "log_loss"}),
    "inline, confidence 0.5": ("inline", {"measure": "confidence", "error_level": 0.5}),
}
"""Name -> (which planted answers set L_b, keys of `dynamics` that are not the default)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """L_b and sigma_b of a separate run in which everything is there from the start, as distances from its averages."""

    above: float
    """L_b - L_average."""
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One exercise's first cycle."""

    exercise: int
    verdict: VerdictClass
    score: float
    burn_in: bool


def config_of(rule: str) -> DynamicsConfig:
    return DynamicsConfig(**{**COMMON, **RULES[rule][1]})


def copied(run: Run, config: DynamicsConfig) -> Copied:
    """The baseline of a run of the form `at_once`."""
    measured = {
        exercise: MEASURES[config.measure](np.array([visit.loss for visit in visits[: config.visits]]))
        for exercise, visits in run.visits.items()
        if len(visits) >= config.visits
    }
    planted = [values for exercise, values in measured.items() if exercise in run.inline]
    real = [values for exercise, values in measured.items() if exercise in run.skill]
    above = np.mean([values.mean() for values in planted]) - np.mean([values.mean() for values in real])
    return Copied(above=float(above), spread=float(np.mean([values.std() for values in planted])))


def judged(run: Run, rule: str, copy: Copied | None = None) -> list[Judged]:
    """What a rule says of every exercise of a run, at the step at which it would have said it."""
    kind, config = RULES[rule][0], config_of(rule)
    planted = {"inline": run.inline, "probe": run.probes}.get(kind, frozenset())
    history, baselines = LossHistory(config), Baselines(config)
    history.mark_planted(sorted(run.inline | run.probes))
    found = []
    for step, rows in sorted(_by_step(run).items()):
        ids, visits, losses = zip(*rows, strict=True)
        history.observe(step, ids, visits, losses, [1] * len(ids))
        history.close_step(step)
        cycles = history.completed()
        ours = [cycle for cycle in cycles if cycle.exercise in planted]
        real = [cycle for cycle in cycles if cycle.exercise in run.skill]
        for group, flag in ((ours, True), (real, False)):
            baselines.add(step, [cycle.mean for cycle in group], [cycle.spread for cycle in group], planted=flag)
        levels = _levels(baselines, copy if kind == "copy" else None)
        for cycle in real:
            if cycle.cycle == 0:
                verdict, reason = judge(cycle.mean, cycle.spread, levels, config)
                score = error_score(cycle.mean, levels, config)
                early = reason.startswith("burn_in")
                found.append(Judged(exercise=cycle.exercise, verdict=verdict, score=score, burn_in=early))
    return found


def quality(run: Run, found: Sequence[Judged], skills: set[str]) -> dict[str, float]:
    """Precision, recall and AUROC of `erroneous` against the truth, over the exercises of these skills."""
    chosen = [one for one in found if run.skill[one.exercise] in skills]
    truth = np.array([one.exercise in run.wrong for one in chosen])
    called = np.array([one.verdict is VerdictClass.ERRONEOUS for one in chosen])
    hits = float((truth & called).sum())
    return {
        "precision": hits / called.sum() if called.any() else float("nan"),
        "recall": hits / truth.sum() if truth.any() else float("nan"),
        "auroc": auroc(np.array([one.score for one in chosen]), truth),
        "called": float(called.sum()),
    }


def auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Probability that a wrong one scores higher than a right one; ties count half; NaN without both kinds."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def shares_by_wave(pairs: Sequence[tuple[Run, Sequence[Judged]]]) -> dict[str, list[float]]:
    """Share of each class among the exercises of each wave, over several runs; burn-in left out."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for run, found in pairs:
        for one in found:
            if not one.burn_in:
                counts[run.wave[one.exercise]][one.verdict.value] += 1
    return {
        kind.value: [counts[wave][kind.value] / max(1, counts[wave].total()) for wave in sorted(counts)]
        for kind in VerdictClass
    }


def _levels(baselines: Baselines, copy: Copied | None) -> Levels:
    levels = baselines.levels()
    if copy is None:
        return levels
    above = levels.average_loss + copy.above
    return replace(levels, planted_loss=above, planted_spread=copy.spread, planted_cycles=1_000)


def _by_step(run: Run) -> dict[int, list[tuple[int, int, float]]]:
    rows: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for exercise, visits in run.visits.items():
        for visit in visits:
            rows[visit.step].append((exercise, visit.visit, visit.loss))
    return rows
