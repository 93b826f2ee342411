"""Rules of judgement, tried on the loss history of one run whose truth is known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from _verdict_runs import Run

from dsa_ray.dynamics.baselines import Levels
from dsa_ray.dynamics.history import MEASURES, LossHistory
from dsa_ray.dynamics.verdicts import Judge, error_score
from dsa_ray.records import VerdictClass
from dsa_ray.sections import DynamicsConfig

COMMON = {"planted_min": 32}
ONE_FOR_ALL = {"by_skill": False}
PLAIN = {"measure": "loss", "error_level": 1.0, **ONE_FOR_ALL}
RULES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "inline": ("inline", {}),
    "probe": ("probe", {}),
    "copy": ("copy", {}),
    "quantiles": ("none", {"thresholds": "quantiles"}),
    "inline, error_level 0.5": ("inline", {"error_level": 0.5}),
    "inline, error_level 0.8": ("inline", {"error_level": 0.8}),
    "inline, confidence": ("inline", {"measure": "confidence"}),
    "inline, one for all skills": ("inline", ONE_FOR_ALL),
    "inline, loss": ("inline", {"measure": "loss"}),
    "inline, plain loss": ("inline", PLAIN),
    "probe, plain loss": ("probe", PLAIN),
    "copy, plain loss": ("copy", PLAIN),
    "quantiles, plain loss": ("none", {"thresholds": "quantiles", "measure": "loss", **ONE_FOR_ALL}),
}
"""Name -> (which planted answers set L_b, keys of `dynamics` that are not the default)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """L_b and sigma_b of a separate run in which everything is there from the start, as distances from its averages."""

    above: float
    """L_b - L_average."""
    spread: float
    spread_deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One exercise's first cycle."""

    exercise: int
    verdict: VerdictClass
    score: float


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
    above = np.mean([values.mean() for values in planted]) - np.median([values.mean() for values in real])
    spreads = [values.std() for values in planted]
    return Copied(above=float(above), spread=float(np.mean(spreads)), spread_deviation=float(np.std(spreads)))


def judged(run: Run, rule: str, copy: Copied | None = None) -> list[Judged]:
    """What a rule says of every exercise of a run, at the step at which it would have said it."""
    kind, config = RULES[rule][0], config_of(rule)
    planted = {"inline": run.inline, "probe": run.probes}.get(kind, frozenset())
    history = LossHistory(config)
    judge = _WithCopy(config, copy) if kind == "copy" and copy is not None else Judge(config)
    history.mark_planted(sorted(run.inline | run.probes))
    skills = {exercise: (skill,) for exercise, skill in (run.skill | run.planted_skill).items()}
    found = []
    for step, rows in sorted(_by_step(run).items()):
        ids, visits, losses = zip(*rows, strict=True)
        history.observe(step, ids, visits, losses, [1] * len(ids))
        history.close_step(step)
        cycles = [cycle for cycle in history.completed() if cycle.exercise in run.skill or cycle.exercise in planted]
        verdicts = judge.verdicts(cycles, history.is_planted, skills.__getitem__)
        levels = judge.levels()
        for one in verdicts:
            if one.cycle == 0:
                score = error_score(one.mean_loss, levels, config)
                found.append(Judged(exercise=one.exercise, verdict=one.verdict, score=score))
    return found


class _WithCopy(Judge):
    """A judge whose L_b and sigma_b come from elsewhere."""

    def __init__(self, config: DynamicsConfig, copy: Copied) -> None:
        super().__init__(config)
        self._copy = copy

    def levels(self) -> Levels:
        levels = super().levels()
        return replace(
            levels,
            planted_loss=levels.average_loss + self._copy.above,
            planted_spread=self._copy.spread,
            planted_spread_deviation=self._copy.spread_deviation,
            planted_cycles=1_000,
        )


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
    """Share of each class among the exercises of each wave, over several runs."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for run, found in pairs:
        for one in found:
            counts[run.wave[one.exercise]][one.verdict.value] += 1
    return {
        kind.value: [counts[wave][kind.value] / max(1, counts[wave].total()) for wave in sorted(counts)]
        for kind in VerdictClass
    }


def _by_step(run: Run) -> dict[int, list[tuple[int, int, float]]]:
    rows: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for exercise, visits in run.visits.items():
        for visit in visits:
            rows[visit.step].append((exercise, visit.visit, visit.loss))
    return rows
