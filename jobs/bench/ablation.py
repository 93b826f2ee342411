"""Does the method teach? Its parts added one at a time at equal tokens, beside controls (DSA's Table 4 and 3).

    python jobs/bench/ablation.py [--seeds 5] [--arms ...] [--work FOLDER] [--quick]

Every arm is one run of the shipped algorithm in one process (`dsa_ray.local`): the built-in student, the quickstart's
settings, the graph below differential calculus.

    base              the untrained student
    textbooks         textbooks alone, in graph order; also reversed and shuffled
    exercises         exercises alone: further rounds from the teacher, no verdicts
    static            the textbooks once in graph order, then such exercises; also after reversed and shuffled textbooks
    static, wide      the same with exercises of difficulties 1 to 3 from the start (the others: 1 and 2)
    dynamics          static with verdicts: drop the erroneous, lighten and compose the easy, harder ones, variants
    random control    the drops, weights and children of the dynamics arm at the same steps, for exercises by lot
    epochs            dynamics by the paper's schedule: children join at the end of an epoch

Equal tokens: every arm of a seed takes `--steps` optimizer steps of two packed rows of 512 tokens, textbooks included;
exercises get what the textbooks leave. The arms with textbooks alone read them again and again, whole passes, so that
they have up to one pass (a few steps) more. The planted wrong answers of dynamics count as its tokens. The table has
the tokens that each arm trained on.

The teacher is the exact writer with a share of wrong answers (a digit is changed): a perfect one leaves nothing to
drop, and with a small language model the arms would differ by its luck, too. What is judged is the loop.

The exam asks new questions: `taught` at difficulties 1 and 2, `hard` at 3, `elementary` is what the student knew.
Every (arm, seed) is a file in FOLDER; what is there already is not trained again. A bar is the lower end of the 95 %
interval of the difference within seeds, which has to be above 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _ablation_arms import ALL_ARMS, Setting, run
from _ablation_control import Consequence
from _ablation_plot import page
from _lego_arms import interval
from _result import at_least, finish

PAIRS = {
    "dynamics_over_static": ("dynamics", "static"),
    "dynamics_over_static_wide": ("dynamics", "static, wide"),
    "dynamics_over_random": ("dynamics", "random control"),
    "dynamics_over_epochs": ("dynamics", "epochs"),
    "static_over_textbooks": ("static", "textbooks"),
    "textbooks_over_base": ("textbooks", "base"),
    "static_over_exercises": ("static", "exercises"),
    "graph_order_over_reversed": ("static", "static, reversed"),
    "graph_order_over_shuffled": ("static", "static, shuffled"),
    "textbooks_alone_over_reversed": ("textbooks", "textbooks, reversed"),
    "textbooks_alone_over_shuffled": ("textbooks", "textbooks, shuffled"),
}
MARKS = ("taught", "hard", "elementary")
COUNTS = ("steps", "tokens", "exercises", "wrong", "dropped", "dropped_wrong")
QUICK_ARMS = ("base", "static", "dynamics", "random control")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Setting(seed=0).steps)
    parser.add_argument("--error-rate", type=float, default=Setting(seed=0).error_rate)
    parser.add_argument("--arms", nargs="+", choices=ALL_ARMS, default=list(ALL_ARMS))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of all arms")
    parser.add_argument("--work", metavar="FOLDER", help="keep the runs there and go on with them")
    parser.add_argument("--quick", action="store_true", help="one seed, four arms, fewer steps")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.steps, given.arms = 1, 160, list(QUICK_ARMS)
    torch.set_num_threads(1)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    shared = {"steps": given.steps, "error_rate": given.error_rate, "overrides": tuple(given.set)}
    if given.quick:
        shared["questions"] = 10
    with tempfile.TemporaryDirectory(prefix="bench-ablation-") as scratch:
        folder = Path(given.work or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        runs = measure([Setting(seed=seed, **shared) for seed in seeds], given.arms, folder)
        found, differences = arms(runs), compared(runs)
        if given.work:
            told = f"Parts of the method at equal tokens: {given.steps} steps, {given.seeds} seeds"
            (folder / "ablation.html").write_text(page(found, told), encoding="utf-8")
    print_tables(found, differences)
    skipped = [arm for arm in ALL_ARMS if arm not in runs] + (["intervals: one seed"] if given.seeds < 2 else [])
    figures = {**shared, "seeds": list(seeds), "arms": found, "differences": differences}
    return finish("ablation", figures, bars(differences), skipped, packages=("torch", "transformers"))


def measure(settings: Sequence[Setting], names: Sequence[str], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All runs, seed by seed, so that what a stopped benchmark has is comparable; those in `folder` are read.

    `random control` repeats what `dynamics` did with the same seed, so that one runs before it.
    """
    runs: dict[str, list[dict[str, Any]]] = {}
    for setting in settings:
        for arm in (arm for arm in ALL_ARMS if arm in names):
            found = stored(arm, setting, folder)
            runs.setdefault(arm, []).append(found)
            marks = "  ".join(f"{name} {found[name]:.1%}" for name in MARKS)
            print(f"{arm:<22} seed {setting.seed}: {marks}   {found['cpu_s']:.0f} s", flush=True)
    return runs


def stored(arm: str, setting: Setting, folder: Path) -> dict[str, Any]:
    """One arm of one seed from its file, which is made if it is not there: whole or not at all."""
    path = folder / f"{arm.replace(', ', '-').replace(' ', '-')}-{setting.seed}.json"
    same = json.loads(json.dumps(asdict(setting)))
    if not path.exists():
        began, recorded = time.process_time(), []
        if arm == "random control":
            recorded = [Consequence(**row) for row in stored("dynamics", setting, folder)["consequences"]]
        found = run(arm, setting, recorded) | {"cpu_s": round(time.process_time() - began, 1)}
        part = path.with_suffix(".part")
        part.write_text(json.dumps(found | {"setting": same}))
        part.replace(path)
    found = json.loads(path.read_text())
    if found["setting"] != same:
        raise SystemExit(f"{path}: made with another setting; give another --work, or remove it")
    return found


def arms(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Of every arm: marks with 95 % intervals over the seeds, and mean counts."""
    found: dict[str, dict[str, Any]] = {}
    for arm, each in runs.items():
        found[arm] = {mark: interval(np.array([one[mark] for one in each])) for mark in MARKS}
        found[arm] |= {name: round(float(np.mean([one.get(name, 0) for one in each])), 1) for name in COUNTS}
        kinds = sorted({kind for one in each for kind in one.get("ordered", {})})
        ordered = {kind: round(float(np.mean([one["ordered"].get(kind, 0) for one in each])), 1) for kind in kinds}
        found[arm] |= {"ordered": ordered, "seeds": len(each)}
    return found


def compared(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Differences within a seed, with their 95 % intervals."""
    return {
        name: {
            mark: interval(np.array([a[mark] - b[mark] for a, b in zip(runs[one], runs[other], strict=True)]))
            for mark in MARKS
        }
        for name, (one, other) in PAIRS.items()
        if one in runs and other in runs
    }


def bars(differences: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Lower ends of the intervals, of what is taught; without an interval there is no bar."""
    wanted = ("dynamics_over_static", "dynamics_over_random", "graph_order_over_reversed", "graph_order_over_shuffled")
    found = {name: differences[name]["taught"] for name in wanted if name in differences}
    return {
        name: at_least(each["mean"] - each["half"], 0.0) for name, each in found.items() if each["half"] is not None
    }


def print_tables(found: Mapping[str, Mapping[str, Any]], differences: Mapping[str, Mapping[str, Any]]) -> None:
    heads = "".join(f"{name:>14}" for name in MARKS) + "".join(f"{name:>14}" for name in COUNTS)
    print(f"\n{'mean, 95 % interval':<22}{heads}  children ordered")
    for arm, each in found.items():
        marks = "".join(f"{_shown(each[name], '.1f'):>14}" for name in MARKS)
        counts = "".join(f"{each[name]:>14,.0f}" for name in COUNTS)
        print(f"{arm:<22}{marks}{counts}  {' '.join(f'{kind} {count:.0f}' for kind, count in each['ordered'].items())}")
    print("\ndifferences within a seed, points")
    for name, each in differences.items():
        print(f"  {name:<28}" + "".join(f"{mark:>12} {_shown(each[mark], '+.1f'):<12}" for mark in MARKS))


def _shown(mark: Mapping[str, Any], form: str) -> str:
    half = "" if mark["half"] is None else f" ±{100 * mark['half']:.1f}"
    return f"{100 * mark['mean']:{form}}{half}"


if __name__ == "__main__":
    sys.exit(main())
