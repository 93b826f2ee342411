"""Feedback lag: from the step that made an exercise easy or hard to the first step that trains its child.

    python jobs/bench/feedback.py [--quick] [--steps N] [--run FOLDER]

The continuous schedule runs in the real ring with a paced teacher and trainer (see _paced.py). The epoch-wise schedule
is the same curator over as many exercises as the quickstart has, in one process and with a teacher that takes no time,
which favours it: its lag counts in steps alone. Whether composed exercises are harder than their parents only a real
student can tell: with `--run` the losses of a finished run are read from its journal.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from typing import Any

import _paced
import numpy as np
import ray
from _result import at_least, at_most, finish

from dsa_ray.config import Config
from dsa_ray.curriculum.curator import Curator
from dsa_ray.curriculum.supply import Supply
from dsa_ray.dynamics.history import LossHistory
from dsa_ray.records import Kind
from dsa_ray.skills.start import read_start
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder

STEP_S, SLOTS = 0.5, 8
"""Seconds of a training step of one row; rows that may be planned and not yet trained."""
LATENCY_S, AT_ONCE = 2.0, 24
"""A request takes so long, and so many run side by side: more than the trainer's verdicts order."""
WARM_UP = 20
"""Steps before idling counts."""
EPOCH_SET = 3200
"""Exercises of the epoch-wise arm: the quickstart's generate.max_exercises."""
EPOCHS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a shorter run")
    parser.add_argument("--steps", type=int, default=320, help="steps of the ring")
    parser.add_argument("--run", help="folder of a finished run, to compare composed exercises with their parents")
    parsed = parser.parse_args()
    ring = continuous(200 if parsed.quick else parsed.steps)
    epochs = epoch_wise()
    figures: dict[str, Any] = {"ring": ring, "epochs": epochs}
    allowed = 1.5 * LATENCY_S / STEP_S + SLOTS
    bars = {
        "lag_steps_p50": at_most(ring["lag_steps"]["p50"], min(16.0, allowed)),
        "idle_ratio": at_most(ring["idle_ratio"], 0.01),
        "epochs_to_ring": at_least(epochs["lag_steps"]["p50"] / max(1.0, ring["lag_steps"]["p50"]), 10.0),
    }
    if parsed.run:
        figures["composed"] = found = composed(RunFolder.open(parsed.run))
        bars["composed_harder_share"] = at_least(found["harder_share"], 0.8)
    for name, found in figures.items():
        print(f"  {name}")
        for key, value in found.items():
            print(f"    {key:<24}{value}")
    return finish("feedback", figures, bars, [] if parsed.run else ["composed_harder_share"], packages=("ray",))


def continuous(steps: int) -> dict[str, Any]:
    """The ring, with the trainer never allowed to wait for a child."""
    with tempfile.TemporaryDirectory(prefix="bench-feedback-") as storage:
        made = _paced.config(
            "feedback",
            storage,
            generate={"slots": 64, "in_flight": AT_ONCE, "exercises_per_skill": 16, "replay": 0.0},
            train={"steps": steps, "slots": SLOTS},
            dynamics=_DYNAMICS,
        )
        pause = _paced.Pause(storage)
        with _paced.ring_of(made, {"seconds": LATENCY_S, "at_once": AT_ONCE}, pause) as (curator, folder):
            trainer = _paced.Trainer(curator, folder.journal, made, STEP_S)
            trainer.start()
            trainer.allowed.release(steps)
            pause.off()
            trainer.finish(60.0 + 4 * steps * STEP_S)
            facts = ray.get(curator.facts.remote())
    visits = [each["visits"] for each in facts["exercises"].values() if each["visits"]]
    return {
        "steps": len(trainer.steps),
        "lag_steps": _quantiles([lag[2] for lag in facts["lags"]]),
        "lag_s": _quantiles([lag[3] for lag in facts["lags"]]),
        "idle_ratio": _paced.idle_ratio(trainer.steps[WARM_UP:]),
        "children_trained": len(facts["lags"]),
        "children_written": sum(kind["written"] for kind in facts["children"].values()),
        "visits": _quantiles(visits),
        "share_of_first_visits": len(visits) / sum(visits),
    }


_DYNAMICS = {"burn_in_verdicts": 32, "planted_min": 16, "window": 256}


def epoch_wise() -> dict[str, Any]:
    """The epoch-wise schedule over `EPOCH_SET` exercises, with rows as in the ring."""
    with tempfile.TemporaryDirectory(prefix="bench-feedback-") as storage:
        made = _paced.config(
            "epochs",
            storage,
            generate={"exercises_per_skill": EPOCH_SET // len(_paced.SKILLS), "replay": 0.0, "slots": 4096},
            train={"steps": 10**6, "slots": SLOTS},
            dynamics={**_DYNAMICS, "schedule": "epochs"},
        )
        curator = _in_process(made)
    lags = [lag[2] for lag in curator.children.lags()]
    return {"lag_steps": _quantiles(lags), "children_trained": len(lags), "steps": curator.ledger.closed_step}


def _in_process(made: Config) -> Curator:
    """Train for some epochs; whatever is asked of the teacher is there at once."""
    curator = Curator(made, lambda event: None, supply=Supply(made, lambda event: None, read_start(made.graph)))
    curator.start()
    attempt, segment = curator.begin_attempt(), 0
    while curator.epochs.number <= EPOCHS:
        while work := curator.lease_requests("teacher-0", "1", 256):
            segment += 1
            curator.accept(segment, [_numbers(each.request, place) for place, each in enumerate(work)])
        for row in curator.lease_rows(0, attempt, 4) or []:
            ids = np.array([item.exercise for item in row.items])
            visits = np.array([item.visit for item in row.items])
            curator.observe(0, attempt, row.step, [row.lease], ids, _paced.loss_of(ids, visits))
    return curator


def _numbers(request: Any, place: int) -> dict[str, Any]:
    """What a recorder would tell of the paced teacher's text."""
    row = {name: getattr(request, name) for name in ("id", "skills", "difficulty", "parents", "cause")}
    tokens = 60 if request.kind is Kind.TEXTBOOK else _TOKENS
    row |= {"kind": request.kind.value, "tokens": tokens, "prompt_tokens": 0 if request.kind is Kind.TEXTBOOK else 20}
    return {**row, "content_hash": request.id, "answer_hash": request.id, "row": place, "output_tokens": 24}


_TOKENS = 32
"""About what the ring's exercises have, in the student's tokens."""


def composed(run: RunFolder) -> dict[str, Any]:
    """How many composed exercises begin with a higher cohort residual than both of their parents had last."""
    parents: dict[int, tuple[int, ...]] = {}
    history = LossHistory(run.config.dynamics)
    visits: dict[int, dict[int, tuple[int, int]]] = {}
    compared = harder = than_mean = 0
    for event in (row for _, rows in iter_segments(run.journal, "events") for row in rows):
        if event["event"] == "request" and event["kind"] == Kind.COMPOSED.value:
            parents[event["id"]] = tuple(event["parents"])
        elif event["event"] == "plant":
            history.mark_planted([event["id"]])
        elif event["event"] == "lease" and event["rows"][0]["phase"] == "exercises":
            items = [item for row in event["rows"] for item in row["items"]]
            visits[event["rows"][0]["step"]] = {i["exercise"]: (i["visit"], i["loss_tokens"]) for i in items}
        elif event["event"] == "observe" and event["step"] in visits:
            known = visits[event["step"]]
            kept = [place for place, exercise in enumerate(event["ids"]) if exercise in known]
            ids = [event["ids"][place] for place in kept]
            losses = [event["losses"][place] for place in kept]
            history.observe(event["step"], ids, [known[i][0] for i in ids], losses, [known[i][1] for i in ids])
    for step in sorted(visits):
        history.close_step(step)
    for child, own in parents.items():
        first = history.losses_of(child)[:1]
        if not first:
            continue
        last = [[v.residual for v in history.losses_of(parent) if v.step < first[0].step] for parent in own]
        if not all(last):
            continue
        compared += 1
        harder += first[0].residual > max(residuals[-1] for residuals in last)
        than_mean += first[0].residual > float(np.mean([residuals[-1] for residuals in last]))
    share = harder / compared if compared else 0.0
    return {"compared": compared, "harder_share": share, "harder_than_mean": than_mean / max(1, compared)}


def _quantiles(values: list[float]) -> dict[str, float]:
    p50, p95 = np.percentile(values or [0.0], [50, 95])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}


if __name__ == "__main__":
    sys.exit(main())
