"""Memory over a million exercises through the real ring: what each process holds at the beginning and at the end.

    python jobs/bench/soak.py [--quick] [--exercises N]

Teacher and trainer take no time (see _paced.py); every exercise is ordered, written, checked, recorded, trained on
twice and judged, and verdicts order more of them. Memory is what a process alone holds (anonymous pages, the
proportional share of those that are forked); Ray's object store is of fixed size and left out. The first figure of a
process is the median over the second tenth of the exercises, the last one that over the last tenth. The curator may
grow; all else should stay as it is. `--quick` takes 60,000 exercises: too few to tell growth from warming up, so it
judges nothing but the curator.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import _paced
import psutil
import ray
from _result import at_most, finish

MILLION = 1_000_000
QUICK = 60_000
EVERY_S = 2.0
ALLOWED = 0.05
VISITS = 2
"""The least that has a spread: a verdict of one visit is always that an exercise is ambiguous, and orders nothing."""
CURATOR_BYTES = 300
ROLES = {
    "CuratorActor": "curator",
    "RecorderActor": "recorder",
    "ReplicaActor": "replica",
    "_Examination": "examiner",
    "ReadOutboxes": "generation_reader",
    "Readrows": "training_reader",
    "_StatsActor": "statistics",
}
"""By what the title of a process holds. What is not here is Ray's own: its servers, agents and idle workers."""
RAY = "ray"

Sample = tuple[int, dict[str, int]]
"""Exercises written, and bytes by role."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} exercises")
    parser.add_argument("--exercises", type=int, help=f"{MILLION:,}, unless told")
    parsed = parser.parse_args()
    exercises = parsed.exercises or (QUICK if parsed.quick else MILLION)
    began = time.monotonic()
    samples, told = soak(exercises)
    first, last = _level(samples, 0.1, 0.2), _level(samples, 0.9, 1.0)
    grown = (_count(samples, 0.9, 1.0) - _count(samples, 0.1, 0.2)) or 1
    per_exercise = (last["curator"] - first["curator"]) / grown
    roles = {
        role: {"first_mib": first[role] / 2**20, "last_mib": last[role] / 2**20, "growth": last[role] / first[role] - 1}
        for role in first
        if role in last
    }
    ring = [role for role in roles if role not in ("curator", RAY)]
    elsewhere = sum(last[role] for role in ring) / sum(first[role] for role in ring) - 1
    print(f"  {'MiB, by tenths':<20}" + "".join(f"{tenth:>8}" for tenth in range(1, 11)))
    for role in sorted(roles):
        levels = [_level(samples, tenth / 10, (tenth + 1) / 10).get(role, 0.0) / 2**20 for tenth in range(10)]
        print(f"  {role:<20}" + "".join(f"{level:>8.1f}" for level in levels) + f"{roles[role]['growth']:>+9.1%}")
    seconds = time.monotonic() - began
    figures = {"exercises": samples[-1][0], "seconds": seconds, "roles": roles, "elsewhere_growth": elsewhere}
    figures |= {"curator_bytes_per_exercise": per_exercise, **told}
    bars = {"curator_bytes_per_exercise": at_most(per_exercise, CURATOR_BYTES)}
    skipped = ["elsewhere_growth", "largest_growth"]
    if not parsed.quick:
        bars["elsewhere_growth"] = at_most(elsewhere, ALLOWED)
        bars["largest_growth"] = at_most(max(roles[role]["growth"] for role in ring), ALLOWED)
        skipped = []
    return finish("soak", figures, bars, skipped, packages=("ray",))


def soak(exercises: int) -> tuple[list[Sample], dict[str, Any]]:
    """Memory while so many exercises go through the ring, and what else was counted."""
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as storage:
        made = _paced.config(
            "soak",
            storage,
            generate={
                "slots": 1024,
                "in_flight": 256,
                "exercises_per_skill": 64,
                "replay": 0.0,
                "max_exercises": 10**8,
            },
            train={"steps": 10**7, "rows_per_step": 2, "slots": 32, "row_tokens": 2048},
            dynamics={"visits": VISITS, "visit_cap": VISITS},
        )
        pause = _paced.Pause(storage)
        with _paced.ring_of(made, {"seconds": 0.0, "at_once": 256}, pause) as (curator, folder):
            trainer = _paced.Trainer(curator, folder.journal, made, 0.0)
            trainer.start()
            trainer.allowed.release(10**7)
            pause.off()
            steps, told, drains = 0, time.monotonic(), itertools.count(1)
            while not samples or samples[-1][0] < exercises:
                time.sleep(EVERY_S)
                if not trainer.is_alive():
                    trainer.finish(1.0)
                steps += len(trainer.steps)
                trainer.steps.clear()  # or this process would grow by it
                status, _ = ray.get([curator.status.remote(), curator.drain_metrics.remote(next(drains))])
                samples.append((status["written"], _by_role()))
                if time.monotonic() - told > 30:
                    told = time.monotonic()
                    print(f"  {status['written']:>10,} written, {trainer.examples:>10,} losses", flush=True)
            trainer.stop()
    counts = {"losses": trainer.examples, "steps": steps, "verdicts": sum(status["verdicts"].values())}
    return samples, counts


def _by_role() -> dict[str, int]:
    """Bytes of this process and of all below it, by role."""
    found: defaultdict[str, int] = defaultdict(int)
    here = psutil.Process()
    found["driver"] = _own_bytes(here.pid)
    for process in here.children(recursive=True):
        try:
            title = " ".join(process.cmdline())
            role = next((name for mark, name in ROLES.items() if mark in title), RAY)
            found[role] += _own_bytes(process.pid)
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue
    return dict(found)


def _own_bytes(pid: int) -> int:
    """Anonymous memory of a process; pages that it shares with others count in part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup tells no Pss_Anon; this benchmark needs Linux 5.3 or later")


def _window(samples: list[Sample], low: float, high: float) -> list[Sample]:
    end = samples[-1][0]
    return [sample for sample in samples if low * end <= sample[0] <= high * end]


def _level(samples: list[Sample], low: float, high: float) -> dict[str, float]:
    """Median bytes of each role between two shares of the exercises."""
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for _, by_role in _window(samples, low, high):
        for role, size in by_role.items():
            seen[role].append(size)
    return {role: statistics.median(sizes) for role, sizes in seen.items()}


def _count(samples: list[Sample], low: float, high: float) -> float:
    return statistics.median(sample[0] for sample in _window(samples, low, high))


if __name__ == "__main__":
    sys.exit(main())
