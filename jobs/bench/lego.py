"""Skill-It's table: accuracy per skill and loss against steps, for seven ways to choose what to train on.

    python jobs/bench/lego.py [--setting tiny|small|paper] [--seeds 5] [--arms ...] [--out FOLDER] [--quick]

Every (arm, seed) is a file in FOLDER; what is there already is not trained again, so a stopped benchmark goes on where
it was. `tiny` is for a CPU, `small` takes hours on one, `paper` is for a GPU and needs GPT-Neo 125M (`--model`). The
published table is on LEGO with five variables; figures of other settings stand beside it, not against it. Whether a
setting leaves chance at all is what the bar `stratified_worst_skill` says.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from _lego_arms import run, summary
from _lego_plot import page
from _lego_settings import ARMS, PUBLISHED, RERUN, RERUN_HALF_WAY, SETTINGS, Setting
from _result import at_least, finish

QUICK_ARMS = ("random", "stratified", "skill-it")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=SETTINGS, default="tiny")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", metavar="FOLDER", help="keep the runs there and go on with them")
    parser.add_argument("--model", help="another model to start from: a folder or a Hugging Face name")
    parser.add_argument("--seconds", type=float, help="begin no further run after so long")
    parser.add_argument("--quick", action="store_true", help="three arms, two seeds, at most four minutes")
    parsed = parser.parse_args()
    torch.set_num_threads(1 if not torch.cuda.is_available() else torch.get_num_threads())
    setting = SETTINGS[parsed.setting]
    if parsed.model:
        setting = dataclasses.replace(setting, model=parsed.model)
    arms, seeds, seconds = tuple(parsed.arms), parsed.seeds, parsed.seconds
    if parsed.quick:
        arms, seeds, seconds = QUICK_ARMS, 2, 120.0
    with tempfile.TemporaryDirectory(prefix="bench-lego-") as scratch:
        folder = Path(parsed.out or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        runs = measure(setting, arms, seeds, folder, seconds)
        missing = [f"{arm}: {seeds - len(runs.get(arm, ()))} seeds" for arm in ARMS if len(runs.get(arm, ())) < seeds]
        if parsed.out:
            told = f"{parsed.setting}: {setting.task}"
            html = page(runs, told, setting.task.chance, published="Lego" in type(setting.task).__name__)
            (folder / "lego.html").write_text(html, encoding="utf-8")
    half, end = summary(runs, 0.5), summary(runs, 1.0)
    print_table("half of the steps", half, RERUN_HALF_WAY)
    print_table("all steps", end, PUBLISHED)
    figures = {"setting": parsed.setting, "task": str(setting.task), "half": half, "end": end}
    figures |= {"published": PUBLISHED, "published_rerun": RERUN, "published_rerun_half_way": RERUN_HALF_WAY}
    return finish("lego", figures, bars(half, end), skipped=missing, packages=("torch", "transformers"))


def measure(
    setting: Setting, arms: Sequence[str], seeds: int, folder: Path, seconds: float | None
) -> dict[str, list[dict[str, Any]]]:
    """All runs, seed by seed, so that what a stopped benchmark has is comparable; those in `folder` are read."""
    runs: dict[str, list[dict[str, Any]]] = {}
    began = time.monotonic()
    for seed in range(seeds):
        for arm in arms:
            path = folder / f"{arm}-{seed}.json"
            if not path.exists():
                if seconds is not None and time.monotonic() - began > seconds:
                    continue
                started = time.process_time()
                result = run(setting, arm, seed, folder) | {"cpu_s": round(time.process_time() - started, 1)}
                _write(path, result | {"setting": str(setting)})
            result = json.loads(path.read_text())
            if result["setting"] != str(setting):
                raise SystemExit(f"{path}: made with another setting; give another --out, or remove it")
            runs.setdefault(arm, []).append(result)
            accuracy = " ".join(f"{value:.2f}" for value in result["accuracy"][-1])
            print(f"{arm:<22} seed {seed}: {accuracy}   {result['cpu_s']:.0f} s", flush=True)
    return runs


def bars(half: Mapping[str, Any], end: Mapping[str, Any]) -> dict[str, Any]:
    """What the benchmark is judged by, where the arms for it ran."""
    found = {}
    if "stratified" in end:
        found["stratified_worst_skill"] = at_least(min(end["stratified"]["per_skill"]), 0.9)
    for arm in ("random", "stratified"):
        if arm in half and "skill-it" in half:
            lead = half["skill-it"]["accuracy"]["mean"] - half[arm]["accuracy"]["mean"]
            found[f"half_way_lead_over_{arm}"] = at_least(lead, 0.0)
    return found


def print_table(title: str, figures: Mapping[str, Any], published: Mapping[str, float]) -> None:
    print(f"\n{title}: mean and 95 % interval over seeds; published is LEGO with five variables")
    for arm, each in figures.items():
        per_skill = " ".join(f"{value:5.1%}" for value in each["per_skill"])
        accuracy, loss = each["accuracy"], each["loss"]
        half = "" if accuracy["half"] is None else f" ±{100 * accuracy['half']:.1f}"
        print(
            f"  {arm:<22} {accuracy['mean']:6.1%}{half:<7} loss {loss['mean']:.3f}   {per_skill}   "
            f"published {published[arm]}   ({each['seeds']} seeds, step {each['step']})"
        )


def _write(path: Path, result: Mapping[str, Any]) -> None:
    """Whole or not at all, so that a stopped benchmark leaves no half a run."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result))
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
