"""The default quickstart, measured: times per phase, accuracy, children, idling, memory; beside the exact writers.

    python jobs/bench/quickstart.py [--quick]

The same run is made twice, with the built-in teacher (served by vLLM) and with the exact writers in its place, at
equal training tokens, so that the loop is judged and not the teacher. `--quick` leaves the exact writers out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _memory import PeakMemory
from _result import at_least, at_most

from dsa_ray.machine import this_machine

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "quickstart.yaml"
EXACT = ["teacher.kind=python", "teacher.factory=dsa_ray.embedded.engine:exact_writer"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only the run with the built-in teacher")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="bench-quickstart-") as storage:
        taught = measure("taught", storage, [])
        exact = None if quick else measure("exact", storage, EXACT)
    figures = {"taught": taught} | ({"exact": exact} if exact else {})
    bars = judge(taught, exact)
    print_table(figures, bars)
    machine = this_machine()
    result: dict[str, Any] = {
        "bench": "quickstart",
        "figures": figures,
        "bars": bars,
        "machine": {"cpus": machine.cpus, "memory_gib": round(machine.memory_gib, 1)},
        "versions": taught["versions"],
    }
    if exact is None:
        result["skipped"] = ["gain_share_of_exact"]
    print(json.dumps(result))
    return 0


def measure(name: str, storage: str, overrides: list[str]) -> dict[str, Any]:
    """One run in a process of its own; its summary with wall time and peak memory."""
    command = [sys.executable, "-m", "dsa_ray.cli", "run", str(CONFIG), f"run.name={name}", f"run.storage={storage}"]
    began = time.monotonic()
    process = subprocess.Popen([*command, *overrides], cwd=ROOT)
    memory = PeakMemory(process.pid)
    code = process.wait()
    wall_s = time.monotonic() - began
    if code != 0:
        raise SystemExit(f"the run {name!r} ended with exit code {code}")
    summary = json.loads((Path(storage) / name / "summary.json").read_text())
    return {**summary, "total_s": round(wall_s, 1), "peak_gib": round(memory.stop(), 2)}


def judge(taught: dict[str, Any], exact: dict[str, Any] | None) -> dict[str, Any]:
    """Figures against bars; what was not measured is not here."""
    children = taught["children"]
    trained = {kind: count["trained"] for kind, count in children.items()}
    all_trained = sum(trained.values())
    harder = (trained["composed"] + trained["harder"]) / max(1, all_trained)
    bars = {
        "gain_points": at_least(gain(taught["accuracy"]), 30.0),
        "elementary_points": at_least(gain(taught["accuracy"]["elementary"]), -5.0),
        "idle_ratio": at_most(taught["train"]["idle_ratio"], 0.10),
        "children_trained": at_least(all_trained, 50),
        "composed_or_harder_share": at_least(harder, 0.5),
        "total_s": at_most(taught["total_s"], 300.0),
        "peak_gib": at_most(taught["peak_gib"], 12.0),
    }
    if exact is not None:
        share = gain(taught["accuracy"]) / max(1e-9, gain(exact["accuracy"]))
        bars["gain_share_of_exact"] = at_least(share, 0.8)
    return bars


def gain(accuracy: dict[str, Any]) -> float:
    """Percentage points between the two sittings."""
    return 100.0 * (accuracy["after"]["value"] - accuracy["before"]["value"])


def print_table(figures: dict[str, Any], bars: dict[str, Any]) -> None:
    for name, run in figures.items():
        print(f"\n{name}: {run['total_s']:.0f} s, peak {run['peak_gib']:.1f} GiB")
        total = sum(run["wall_s"].values())
        for phase, seconds in run["wall_s"].items():
            print(f"  {phase:<12} {seconds:7.1f} s  {seconds / total:6.1%}")
        before, after = run["accuracy"]["before"], run["accuracy"]["after"]
        for when, mark in (("before", before), ("after", after)):
            print(f"  {when:<12} {mark['value']:6.1%}  [{mark['low']:.1%}, {mark['high']:.1%}], n={mark['n']}")
        print(f"  {'tokens':<12} {run['train']['tokens']:,} trained, {run['generate']['tokens']:,} written")
    print("\nbars")
    for name, bar in bars.items():
        print(f"  {name:<26} {bar['figure']:>10}   bar {bar['bar']:>6}   {'ok' if bar['ok'] else 'MISSED'}")


if __name__ == "__main__":
    sys.exit(main())
