"""A teacher and a trainer without text or weights, to drive a curator through a whole run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dsa_ray.config import Config, parse
from dsa_ray.curriculum.curator import Curator
from dsa_ray.records import Assignment, Kind, RowPlan

GRAPH = {
    "calculus": ["derivatives", "integrals"],
    "derivatives": ["powers", "limits"],
    "integrals": ["derivatives"],
    "limits": ["fractions"],
}


def small_config(**sections: Any) -> Config:
    """A configuration whose runs take milliseconds; sections given are merged over it."""
    base: dict[str, Any] = {
        "run": {"name": "test"},
        "graph": {"target": "calculus", "elementary": ["fractions", "powers"]},
        "generate": {"exercises_per_skill": 12, "slots": 64, "in_flight": 16, "max_question_tokens": 64},
        "train": {"ranks": 2, "rows_per_step": 1, "slots": 4, "row_tokens": 128, "steps": 60},
        "dynamics": {"burn_in_verdicts": 8, "window": 64, "cohort_steps": 8, "planted_min": 4},
    }
    for name, values in sections.items():
        base[name] = {**base.get(name, {}), **values} if isinstance(values, dict) else values
    return parse(base)


class World:
    """Plays replicas, recorder and ranks against a curator, deterministically.

    Args:
        config: of the run.
        hard: every exercise whose id is divisible by this stays at a high loss.
    """

    def __init__(self, config: Config, hard: int = 5) -> None:
        self.now = 0.0
        self.events: list[dict[str, Any]] = []
        self.config = config
        self.hard = hard
        self.curator = Curator(config, self.events.append, clock=lambda: self.now)
        self.segment = 0
        self.rows: list[RowPlan] = []
        self.written: list[tuple[int, dict[str, Any]]] = []

    def write(self, n: int = 32, replica: str = "r0") -> list[Assignment]:
        """Lease up to `n` requests and accept what is written for them."""
        assignments = self.curator.lease_requests(replica, "1", n)
        if assignments:
            rows = [numbers_for(assignment, place) for place, assignment in enumerate(assignments)]
            self.written += [(self.segment, row) for row in rows]
            self.curator.accept(self.segment, rows)
            self.segment += 1
        return assignments

    def train_step(self, attempt: int) -> bool:
        """One step of all ranks; False when there was nothing to train on."""
        leases = [self.curator.lease_rows(rank, attempt, 1) for rank in range(self.curator.ledger.ranks)]
        if not all(leases):
            return False
        for rank, rows in enumerate(leases):
            self.observe(rank, attempt, rows or [])
        return True

    def observe(self, rank: int, attempt: int, rows: list[RowPlan]) -> bool:
        self.rows += rows
        ids = np.array([item.exercise for row in rows for item in row.items])
        visits = np.array([item.visit for row in rows for item in row.items])
        losses = np.where(ids % self.hard == 0, 2.0, 1.0 / visits) + 0.01 * (ids % 7)
        return self.curator.observe(rank, attempt, rows[0].step, [row.lease for row in rows], ids, losses)

    def run(self, each_turn: Callable[[], None] = lambda: None) -> None:
        """A whole run, generation and training in turns."""
        self.curator.start()
        attempt = self.curator.begin_attempt()
        for _ in range(10_000):
            self.now += 1.0
            self.write()
            self.train_step(attempt)
            each_turn()
            if self.curator.lease_rows(0, attempt, 0) is None:
                return
        raise AssertionError(f"the run did not end: {self.curator.status()}")


def numbers_for(assignment: Assignment, place: int) -> dict[str, Any]:
    """What a recorder tells of the text written for an assignment."""
    request = assignment.request
    row = {
        "id": request.id,
        "kind": request.kind.value,
        "skills": list(request.skills),
        "difficulty": request.difficulty,
        "parents": list(request.parents),
        "cause": list(request.cause) if request.cause else None,
        "tokens": 200 if request.kind is Kind.TEXTBOOK else 20 + request.id % 9,
        "prompt_tokens": 0 if request.kind is Kind.TEXTBOOK else 10,
        "content_hash": request.id,
        "answer_hash": request.id % 11,
        "row": place,
        "output_tokens": 30,
    }
    if request.kind is Kind.PREREQUISITES:
        row["prerequisites"] = [[name, ""] for name in GRAPH.get(request.skills[0], [])]
    return row
