"""A curator with millions of exercises, and its trainer: no text, no weights, no Ray. A process of its own.

Times are of the thread's own processor time, so that a busy machine does not count; nothing here waits for anything.

python jobs/bench/_crowd.py EXERCISES STEPS        prints one JSON line
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil

from dsa_ray.config import Config, parse
from dsa_ray.curriculum.curator import Curator
from dsa_ray.dynamics.history import LossHistory
from dsa_ray.records import Kind

SKILLS = ("derivatives", "integrals", "limits", "series")
BATCH = 512
"""Losses of one optimizer step: GLAN's batch."""
ACCEPT_ROWS = 64


def main() -> int:
    exercises, steps = map(int, sys.argv[1:])
    empty = _rss()
    curator = crowd(exercises)
    figures: dict[str, Any] = {"exercises": exercises, "curator_bytes": (_rss() - empty) / exercises}
    figures |= lease_and_observe(curator, steps)
    figures["rss_gib"] = _rss() / 2**30
    del curator
    figures |= histories(exercises)
    figures["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(figures))
    return 0


def crowd(exercises: int) -> Curator:
    """A curator that has accepted so many exercises, and read its textbooks."""
    curator = Curator(_config(exercises), lambda event: None)
    curator.start()
    while (work := curator.lease_requests("r", "1", 64)) or curator.supply.book.unsettled:
        curator.accept(0, [_numbers(each.request.id, each.request.kind, each.request.skills) for each in work])
    for segment in range(1, 1 + -(-exercises // ACCEPT_ROWS)):
        count = min(ACCEPT_ROWS, exercises - (segment - 1) * ACCEPT_ROWS)
        skills = (SKILLS[segment % len(SKILLS)],)
        curator.accept(segment, [_numbers(curator.supply.book.take_id(), Kind.EXERCISE, skills) for _ in range(count)])
    return curator


def lease_and_observe(curator: Curator, steps: int) -> dict[str, float]:
    """The trainer's two calls, step by step, with everything that hangs on them: plans, verdicts, orders, events."""
    attempt = curator.begin_attempt()
    rng = np.random.default_rng(0)
    leasing, observing, losses = [], 0.0, 0
    for _ in range(steps):
        began = time.thread_time()
        rows = curator.lease_rows(0, attempt, 2)
        leasing.append(time.thread_time() - began)
        assert rows
        ids = np.array([item.exercise for row in rows for item in row.items])
        values = rng.normal(1.0, 0.2, len(ids))
        began = time.thread_time()
        curator.observe(0, attempt, rows[0].step, [row.lease for row in rows], ids, values)
        observing += time.thread_time() - began
        losses += len(ids)
    p50, p99 = np.percentile(leasing, [50, 99]) * 1e3
    return {
        "lease_p50_ms": float(p50),
        "lease_p99_ms": float(p99),
        "lease_max_ms": max(leasing) * 1e3,
        "whole_observe_per_s": losses / observing,
        "losses_per_step": losses / steps,
        "verdicts": sum(curator.verdicts.values()),
    }


def histories(exercises: int) -> dict[str, float]:
    """Every exercise visited 2E times, in batches: losses a second, and bytes kept per exercise after E and 2E."""
    config = _config(exercises).dynamics
    history = LossHistory(config)
    rng = np.random.default_rng(0)
    seconds, step, kept = 0.0, 0, []
    for visit in range(1, 2 * config.visits + 1):
        order = rng.permutation(exercises)
        for ids in _batches(order):
            step += 1
            losses, visits, tokens = rng.normal(1.0, 0.2, len(ids)), np.full(len(ids), visit), np.full(len(ids), 30)
            began = time.thread_time()
            history.observe(step, ids, visits, losses, tokens)
            history.close_step(step)
            history.completed()
            seconds += time.thread_time() - began
        if visit % config.visits == 0:
            kept.append(history.nbytes / exercises)
    rate = 2 * config.visits * exercises / seconds
    return {"observe_per_s": rate, "history_bytes": kept[0], "history_bytes_at_cap": kept[1]}


def _batches(order: np.ndarray) -> Iterator[np.ndarray]:
    return (order[at : at + BATCH] for at in range(0, len(order), BATCH))


def _config(exercises: int) -> Config:
    return parse(
        {
            "run": {"name": "crowd"},
            "graph": {"target": "calculus"},
            "generate": {"exercises_per_skill": 1, "replay": 0, "max_exercises": max(100, exercises // 10)},
            "train": {"steps": 10**9, "rows_per_step": 2, "slots": 32},
        }
    )


def _numbers(id: int, kind: Kind, skills: tuple[str, ...]) -> dict[str, Any]:
    """What a recorder tells of a written item."""
    row = {"id": id, "kind": kind.value, "skills": list(skills), "difficulty": 1 + id % 3, "parents": [], "cause": None}
    row |= {"tokens": 30 + id % 40, "prompt_tokens": 12, "content_hash": id, "answer_hash": id % 1009}
    row |= {"row": id % ACCEPT_ROWS, "output_tokens": 30}
    if kind is Kind.PREREQUISITES:
        row["prerequisites"] = [[name, ""] for name in SKILLS] if skills == ("calculus",) else []
    return row


def _rss() -> int:
    return psutil.Process().memory_info().rss


if __name__ == "__main__":
    sys.exit(main())
