"""The curator with millions of exercises, and the ring with a teacher that takes no time.

    python jobs/bench/curator.py [--quick] [--exercises N]

Each size runs in a process of its own (see _crowd.py), without Ray: what a lease takes while that many exercises are
known, how many losses a second the histories take, what an exercise costs in memory. Then exercises a second through
the real ring, each written, trained on once and judged, whichever is least, with rows of 2,048 tokens (some sixty
exercises); beside `ray.util.queue` with one put and one get per item and nothing else running, before and after it.
`--quick` measures one million exercises, and the ring for a shorter time.
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

import _paced
import ray
from _result import at_least, at_most, finish
from ray.util.queue import Queue

MILLION = 1_000_000
STEPS = 3000
WINDOW_S = 30.0
QUEUE_ITEMS = 1000
EACH = ("written", "trained", "judged")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one million exercises, and the ring for half the time")
    parser.add_argument("--exercises", type=int, default=10 * MILLION, help="the larger size")
    parser.add_argument("--only", choices=("crowd", "ring"), help="one of the two measurements")
    parsed = parser.parse_args()
    figures: dict[str, Any] = {}
    bars: dict[str, Any] = {}
    skipped: list[str] = []
    if parsed.only != "ring":
        figures["1m"] = one = _crowd(MILLION)
        bars["observe_per_s"] = at_least(one["observe_per_s"], 500_000)
        bars["lease_p99_ms"] = at_most(one["lease_p99_ms"], 5.0)
        bars["history_bytes"] = at_most(one["history_bytes"], 300)
        if parsed.quick:
            skipped.append("peak_gib_of_10m")
        else:
            figures["large"] = large = _crowd(parsed.exercises)
            bars["peak_gib_of_10m"] = at_most(large["peak_gib"] * 10 * MILLION / parsed.exercises, 16.0)
    if parsed.only != "crowd":
        figures["ring"] = ring = _ring(WINDOW_S / 2 if parsed.quick else WINDOW_S)
        bars["ring_to_queue"] = at_least(min(ring[f"{name}_per_s"] for name in EACH) / ring["queue_per_s"], 5.0)
    return finish("curator", figures, bars, skipped, packages=("ray", "numpy"))


def _crowd(exercises: int) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).parent / "_crowd.py"), str(exercises), str(STEPS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{exercises} exercises: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"  {exercises:>12,} exercises  " + "  ".join(f"{key} {value:,.4g}" for key, value in found.items()))
    return found


def _ring(seconds: float) -> dict[str, Any]:
    """Exercises written and trained a second while both halves run, and items a second through a queue meanwhile."""
    with tempfile.TemporaryDirectory(prefix="bench-curator-") as storage:
        made = _paced.config(
            "curator",
            storage,
            generate={"slots": 4096, "in_flight": 512, "exercises_per_skill": 20_000, "replay": 0.0},
            train={"steps": 10**6, "rows_per_step": 2, "slots": 32, "row_tokens": 2048},
            dynamics={"visits": 1, "visit_cap": 1},
        )
        pause = _paced.Pause(storage)
        with _paced.ring_of(made, {"seconds": 0.0, "at_once": 512}, pause) as (curator, folder):
            queue = [_queue_rate()]
            trainer = _paced.Trainer(curator, folder.journal, made, 0.0)
            trainer.start()
            trainer.allowed.release(10**6)
            pause.off()
            while len(trainer.steps) < 20:
                if not trainer.is_alive():
                    trainer.finish(1.0)
                time.sleep(0.05)
            first, began = _counts(curator, trainer), time.monotonic()
            time.sleep(seconds)
            last, passed = _counts(curator, trainer), time.monotonic() - began
            trainer.stop()
            pause.on()
            time.sleep(5.0)
            queue.append(_queue_rate())
    found = {name: (last[name] - first[name]) / passed for name in first}
    print("  ring  " + "  ".join(f"{name} {value:,.0f}/s" for name, value in found.items()))
    print("  queue, before and after  " + "  ".join(f"{rate:,.0f}/s" for rate in queue))
    return {f"{name}_per_s": value for name, value in found.items()} | {"queue_per_s": sum(queue) / len(queue)}


def _counts(curator: Any, trainer: _paced.Trainer) -> dict[str, float]:
    status = ray.get(curator.status.remote())
    counts = {"written": status["written"], "trained": trainer.examples, "judged": sum(status["verdicts"].values())}
    return {**counts, "steps": len(trainer.steps)}


def _queue_rate() -> float:
    """Put and get of one item at a time, pairs a second."""
    queue = Queue(actor_options={"num_cpus": 0})
    queue.put(0)
    queue.get()
    began = time.perf_counter()
    for number in range(QUEUE_ITEMS):
        queue.put(number)
        queue.get()
    rate = QUEUE_ITEMS / (time.perf_counter() - began)
    queue.shutdown(force=True)
    return rate


if __name__ == "__main__":
    sys.exit(main())
