"""Are exercises with wrong answers found? Verdicts against the truth, for every rule, at several shares of wrong ones.

    python jobs/bench/verdicts.py [--quick] [--seeds N]

The built-in student is trained on exact exercises, known and new skills mixed, that arrive in eight waves; a share of
the answers is wrong by a digit. Every rule judges the same loss histories. Then two further runs per seed drop
exercises while they train: by verdict, and as many at random at the same steps. `--quick`: one seed, two shares, no
dropping.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from _result import at_least, at_most, finish
from _verdict_rules import RULES, Copied, Judged, config_of, copied, judged, quality, shares_by_wave
from _verdict_runs import BothKinds, Run, Setting, train

from dsa_ray.dynamics.history import LossHistory
from dsa_ray.dynamics.verdicts import Judge
from dsa_ray.records import VerdictClass
from dsa_ray.training.loop import StepReport

SHARES = (0.05, 0.1, 0.2, 0.4)
QUICK_SHARES = (0.1, 0.4)
DROP_SHARE = 0.4
DROP_QUESTIONS = 40
LEAST_ACCURACY = 0.5
COPY_STEPS, COPY_EXERCISES = 80, 400
DEFAULT, PLAIN = "inline", "inline, plain loss"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, two shares, no dropping")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parsed = parser.parse_args()
    seeds = range(1 if parsed.quick else parsed.seeds)
    runs: dict[float, list[Run]] = {}
    found: dict[tuple[str, float], list[tuple[Run, list[Judged]]]] = {}
    for share in QUICK_SHARES if parsed.quick else SHARES:
        runs[share] = [train(Setting(share=share, seed=seed)) for seed in seeds]
        copies = _copies(share)
        for run, rule in product(runs[share], RULES):
            found.setdefault((rule, share), []).append((run, judged(run, rule, copies[rule])))
        _print_share(share, runs[share], found)
    figures = {f"{rule} @ {share:g}": _mean_quality(pairs) for (rule, share), pairs in found.items()}
    waves = {rule: _waves(rule, found) for rule in (DEFAULT, PLAIN)}
    bars: dict[str, Any] = {}
    lowest = {rule: min(figures[f"{rule} @ {share:g}"]["auroc"] for share in runs if share >= 0.1) for rule in RULES}
    bars["auroc"] = at_least(lowest[DEFAULT], 0.85)
    bars["auroc_over_best_rule"] = at_least(lowest[DEFAULT] - max(lowest.values()), -0.01)
    bars["waves_points"] = at_most(100 * waves[DEFAULT]["widest"], 10)
    skipped = []
    if parsed.quick:
        skipped = ["dropping", "shares 0.05 and 0.2", "seeds"]
    else:
        dropping = _dropping(list(seeds), runs[DROP_SHARE])
        figures["dropping"] = dropping
        bars["drop_by_verdict_over_random"] = at_least(dropping["verdict"] - dropping["random"], 0.0)
    return finish("verdicts", {**figures, "waves": waves}, bars, skipped, packages=("torch", "transformers"))


def _copies(share: float) -> dict[str, Copied]:
    """The separate training of the `copy` baseline, once for a share of wrong answers."""
    apart = train(Setting(share=share, seed=0, steps=COPY_STEPS, exercises=COPY_EXERCISES, at_once=True), None, 0)
    return {rule: copied(apart, config_of(rule)) for rule in RULES}


def _learned(run: Run) -> set[str]:
    return {skill for skill, accuracy in run.accuracy.items() if accuracy >= LEAST_ACCURACY}


def _mean_quality(pairs: Sequence[tuple[Run, list[Judged]]]) -> dict[str, float]:
    """Means over the seeds; a precision of nothing called is left out of its mean."""
    each = [quality(run, verdicts, _learned(run)) for run, verdicts in pairs]
    means = {}
    for name in each[0]:
        values = [one[name] for one in each if not np.isnan(one[name])]
        means[name] = round(float(np.mean(values)), 4) if values else -1.0
    return means


def _print_share(share: float, runs: Sequence[Run], found: dict[tuple[str, float], Any]) -> None:
    learned = [len(_learned(run)) for run in runs]
    accuracy = np.mean([np.mean(list(run.accuracy.values())) for run in runs])
    print(f"\n{share:.0%} wrong, {len(runs)} runs; exam {accuracy:.1%}, skills at {LEAST_ACCURACY:.0%}: {learned}")
    print(f"  {'rule':<26} precision  recall   AUROC   called")
    for rule in RULES:
        row = _mean_quality(found[rule, share])
        told = "      -" if row["precision"] < 0 else f"{row['precision']:>7.2f}"
        print(f"  {rule:<26}   {told} {row['recall']:>7.2f} {row['auroc']:>7.3f} {row['called']:>8.0f}", flush=True)


def _waves(rule: str, found: dict[tuple[str, float], list[tuple[Run, list[Judged]]]]) -> dict[str, Any]:
    """Class shares of the eight waves, all runs together, and the widest difference in any class."""
    pairs = [pair for (name, _), group in found.items() if name == rule for pair in group]
    shares = shares_by_wave(pairs)
    print(f"\nshares by wave, {rule}")
    for kind, values in shares.items():
        print(f"  {kind:<16}" + "".join(f"{value:>7.1%}" for value in values))
    told: dict[str, Any] = {kind: [round(value, 4) for value in values] for kind, values in shares.items()}
    told["widest_from_third"] = round(max(max(values[2:]) - min(values[2:]) for values in shares.values()), 4)
    return {**told, "widest": round(max(max(values) - min(values) for values in shares.values() if values), 4)}


def _dropping(seeds: Sequence[int], untouched: Sequence[Run]) -> dict[str, Any]:
    """Exam accuracy after dropping by verdict, at random, and (fewer questions) not at all."""
    accuracy: dict[str, list[float]] = {"verdict": [], "random": []}
    tokens: dict[str, list[int]] = {"verdict": [], "random": []}
    dropped, wrongs = [], []
    for seed in seeds:
        setting = Setting(share=DROP_SHARE, seed=seed)
        gone: list[int] = []
        first = train(setting, _ByVerdict(gone), exam_questions=DROP_QUESTIONS)
        second = train(setting, _AtRandom(first.dropped, seed), exam_questions=DROP_QUESTIONS)
        for name, run in (("verdict", first), ("random", second)):
            accuracy[name].append(float(np.mean(list(run.accuracy.values()))))
            tokens[name].append(run.tokens)
        dropped.append(len(gone))
        wrongs.append(sum(exercise in first.wrong for exercise in gone))
    means = {name: round(float(np.mean(values)), 4) for name, values in accuracy.items()}
    nothing = round(float(np.mean([np.mean(list(run.accuracy.values())) for run in untouched])), 4)
    print(f"\ndropping at {DROP_SHARE:.0%} wrong: {dropped} dropped, of them wrong {wrongs}")
    print(f"  exam: by verdict {accuracy['verdict']}, at random {accuracy['random']}, nothing {nothing}")
    return {**means, "nothing": nothing, "each": accuracy, "tokens": tokens, "dropped": dropped, "wrong": wrongs}


class _ByVerdict:
    """Drops what the default rule calls erroneous."""

    def __init__(self, gone: list[int]) -> None:
        config = config_of(DEFAULT)
        self._history, self._judge, self._gone = LossHistory(config), Judge(config), gone

    def __call__(self, step: StepReport, table: BothKinds, training: list[int]) -> list[int]:
        probes = table.planted.keys() - table.inline
        kept = np.array([number not in probes for number in step.ids.tolist()], bool)
        ids, visits, losses, tokens = step.ids, step.visits, step.losses, step.tokens_per_example
        self._history.mark_planted(sorted(table.inline))
        self._history.observe(step.step, ids[kept], visits[kept], losses[kept], tokens[kept])
        self._history.close_step(step.step)
        verdicts = self._judge.verdicts(self._history.completed(), self._history.is_planted, table.skills_of)
        called = [one.exercise for one in verdicts if one.verdict is VerdictClass.ERRONEOUS]
        now = sorted(set(called) & set(training))
        self._gone += now
        return now


class _AtRandom:
    """Drops as many as another run dropped, at the same steps."""

    def __init__(self, counts: Counter[int], seed: int) -> None:
        self._counts, self._rng = counts, np.random.default_rng(seed)

    def __call__(self, step: StepReport, table: BothKinds, training: list[int]) -> list[int]:
        count = min(self._counts[step.step], len(training))
        return self._rng.choice(training, count, replace=False).tolist() if count else []


if __name__ == "__main__":
    sys.exit(main())
