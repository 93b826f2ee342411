"""Generation and training side by side against one after the other, at equal work; and an outage of the teacher.

    python jobs/bench/overlap.py [--quick] [--seconds N]

Teacher and trainer take real time and no CPU (see _paced.py); all between them is the real ring. Alternation writes a
quarter of the exercises, then takes a quarter of the steps, four times; its halves, added up, give the limit
(Tg + Tt) / max(Tg, Tt). In the outage the teacher answers nothing for a minute in the middle. `--quick` halves the
times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import _paced
import ray
from _result import at_least, at_most, finish

STEP_S = 0.25
"""Of a training step of one row, which holds some six exercises."""
LATENCY_S, AT_ONCE = 1.0, 10
"""A request takes so long, and so many run side by side: ten exercises a second."""
ROUNDS = 4
SETTLE_S = 8.0
"""For the trainer's stream to open, before any clock runs."""
WARM_UP = 20
"""Steps."""
OUTAGE_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half the time")
    parser.add_argument("--seconds", type=float, default=60.0, help="of generation, and of training")
    parser.add_argument("--only", choices=("overlap", "outage"), help="one of the two measurements")
    parsed = parser.parse_args()
    seconds = parsed.seconds / 2 if parsed.quick else parsed.seconds
    figures: dict[str, Any] = {}
    bars: dict[str, Any] = {}
    if parsed.only != "outage":
        figures["alternating"] = apart = _play(seconds, alternating=True)
        figures["ring"] = together = _play(seconds, alternating=False)
        limit = (apart["generate_s"] + apart["train_s"]) / max(apart["generate_s"], apart["train_s"])
        figures |= {"limit": limit, "speed_up": apart["total_s"] / together["total_s"]}
        bars["share_of_the_limit"] = at_least(figures["speed_up"] / limit, 0.95)
    if parsed.only != "overlap":
        figures["outage"] = outage = _outage(OUTAGE_S / 2 if parsed.quick else OUTAGE_S)
        bars["steps_in_outage_to_before"] = at_least(outage["during"] / outage["before"], 0.97)
        bars["idle_ratio"] = at_most(outage["idle_ratio"], 0.01)
    _print(figures)
    left_out = {"outage": ["share_of_the_limit"], "overlap": ["steps_in_outage_to_before", "idle_ratio"]}
    return finish("overlap", figures, bars, ["real_engines", *left_out.get(parsed.only, [])], packages=("ray",))


def _play(seconds: float, alternating: bool) -> dict[str, float]:
    """The same exercises and steps; seconds in all, and of each half where they alternate."""
    exercises, steps = int(AT_ONCE / LATENCY_S * seconds), int(seconds / STEP_S) // ROUNDS * ROUNDS
    generate = {"exercises_per_skill": exercises // len(_paced.SKILLS), "max_exercises": exercises}
    with _run(generate, {"steps": steps}) as (curator, trainer, pause):
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
        trainer.finish(60.0)
    waited = _paced.idle_ratio(trainer.steps[WARM_UP:])
    return {"total_s": total, "steps": steps, "exercises": exercises, "idle_ratio": waited, **halves}


def _outage(seconds: float) -> dict[str, float]:
    """Steps a second before and during an outage of the teacher, and the share of waiting over the whole run."""
    before, after = 1.2 * seconds, 0.3 * seconds
    steps = int((before + seconds + after) / STEP_S)
    with _run({"exercises_per_skill": 64}, {"steps": steps}) as (_, trainer, pause):
        pause.off()
        trainer.allowed.release(steps)
        warm = _reached(trainer, WARM_UP)
        began = _reached(trainer, int(before / STEP_S))
        pause.on()
        time.sleep(seconds)
        pause.off()
        ended = time.monotonic()
        trainer.finish(20 * seconds)
    rate = {"before": _rate(trainer, warm, began), "during": _rate(trainer, began, ended)}
    return {**rate, "seconds": seconds, "steps": steps, "idle_ratio": _paced.idle_ratio(trainer.steps[WARM_UP:])}


@contextmanager
def _run(generate: dict[str, Any], train: dict[str, Any]) -> Iterator[tuple[Any, _paced.Trainer, _paced.Pause]]:
    """A ring whose teacher waits, and a trainer that has no permit yet; the clock may run."""
    with tempfile.TemporaryDirectory(prefix="bench-overlap-") as storage:
        made = _paced.config(
            "overlap",
            storage,
            generate={"slots": 64, "in_flight": 2 * AT_ONCE, "replay": 0.0, **generate},
            train={"slots": 16, **train},
        )
        pause = _paced.Pause(storage)
        with _paced.ring_of(made, {"seconds": LATENCY_S, "at_once": AT_ONCE}, pause) as (curator, folder):
            trainer = _paced.Trainer(curator, folder.journal, made, STEP_S)
            trainer.start()
            time.sleep(SETTLE_S)
            yield curator, trainer, pause


def _write(curator: Any, pause: _paced.Pause, exercises: int) -> float:
    """Let the teacher write until there are so many exercises; seconds."""
    began = time.monotonic()
    pause.off()
    while ray.get(curator.status.remote())["written"] < exercises:
        time.sleep(0.1)
    pause.on()
    return time.monotonic() - began


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
    times = [when for when, _, _ in trainer.steps if began <= when <= ended]
    return (len(times) - 1) / (times[-1] - times[0])


def _print(figures: dict[str, Any]) -> None:
    for name, found in figures.items():
        if isinstance(found, dict):
            print(f"  {name:<12}" + "  ".join(f"{key} {value:.3f}" for key, value in found.items()))
        else:
            print(f"  {name:<12}{found:.3f}")


if __name__ == "__main__":
    sys.exit(main())
