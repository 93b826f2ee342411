"""The ring with real engines, and a gate at the curator: whether the teacher is given requests, and the ranks rows.

The built-in teacher, served by vLLM, writes for the built-in student, trained by DeepSpeed ranks: the models and the
placement of the quickstart, with fewer exercises and steps, and without the exams. The clock runs from when the
engine is ready, the ranks are ready and the graph is drawn, until the last step is closed.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import ray

from dsa_ray import ring as rings
from dsa_ray.actors.curator import CuratorActor
from dsa_ray.config import Config, load
from dsa_ray.embedded import shipped
from dsa_ray.records import Assignment, RowPlan
from dsa_ray.ring import Ring
from dsa_ray.storage.run_folder import RunFolder

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "quickstart.yaml"
ROUNDS = 4
EXERCISES, STEPS = 640, 48
"""So few steps that a quarter of them finds enough visits among a quarter of the exercises."""
PER_SKILL = 6
"""Before any verdict: about a quarter of the exercises, so that children make up the rest."""
HALF_S = 300.0
"""A half that takes longer has stopped: there is nothing to write, or nothing to train on."""
OVERRIDES = (
    f"train.steps={STEPS}",
    f"generate.max_exercises={EXERCISES}",
    f"generate.exercises_per_skill={PER_SKILL}",
    "generate.replay=1",
    "train.checkpoint_every=100000",
    "watch.stall_s=600",
)


@ray.remote
class GatedCurator(CuratorActor.__ray_metadata__.modified_class):  # type: ignore[misc]
    """The curator of a run; nothing but the graph goes through before `allow`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._writes, self._share = False, 0.0
        self._given: dict[int, int] = {}

    async def allow(self, writes: bool, share: float) -> None:
        """Whether requests are given out, and rows up to which share of the run's steps."""
        self._writes, self._share = writes, share

    async def lease_requests(self, replica: str, incarnation: str, n: int) -> list[Assignment]:
        if not self._writes and self._host.curator.supply.graph_done:
            return []
        return await super().lease_requests(replica, incarnation, n)

    async def lease_rows(self, rank: int, attempt: int, n: int, reader: int) -> list[RowPlan] | None:
        planner, config = self._host.curator.planner, self._host.curator._config.train
        allowed = int(self._share * planner.total_steps) * config.rows_per_step if planner.textbooks_known else 0
        room = n if self._share == 1.0 else min(n, allowed - self._given.get(rank, 0))
        rows = await super().lease_rows(rank, attempt, room, reader) if room > 0 else []
        self._given[rank] = self._given.get(rank, 0) + len(rows or ())
        return rows


def play(alternating: bool) -> dict[str, Any]:
    """One run to its last step: seconds in all, and of each half where they alternate; exercises and steps."""
    rings.CuratorActor = GatedCurator
    with tempfile.TemporaryDirectory(prefix="bench-real-") as storage:
        made = load(CONFIG, [f"run.storage={storage}", *OVERRIDES])
        with RunFolder.create(storage, made) as folder:
            ring = Ring(made, folder, shipped.resolve(made.student.model), ())
            try:
                ring.start()
                ring.begin_training()
                return _Play(ring, made).run(alternating)
            finally:
                ring.stop()


class _Play:
    """The driver's loop of one arm."""

    def __init__(self, ring: Ring, made: Config) -> None:
        self._ring = ring
        self._curator = ray.get_actor(f"{made.run.name}/curator")
        self._status: dict[str, Any] = {}

    def run(self, alternating: bool) -> dict[str, Any]:
        while not (self._look()["skills"] and self._status["attempt"]) or self._ring.starting:
            time.sleep(0.1)
        began = time.monotonic()
        halves = {"generate_s": 0.0, "train_s": 0.0}
        for number in range(1, ROUNDS + 1) if alternating else ():
            share = number / ROUNDS
            halves["generate_s"] += self._until(True, (number - 1) / ROUNDS, lambda share=share: self._written(share))
            halves["train_s"] += self._until(False, share, lambda share=share: self._trained(share))
        if not alternating:
            self._until(True, 1.0, lambda: self._trained(1.0))
        total = time.monotonic() - began
        found = {"total_s": total, "steps": self._status["step"], "exercises": self._status["written"], **halves}
        return found | {
            "rejected": self._status["rejected"],
            "idle_ratio": self._status.get("train", {}).get("idle_ratio", 0.0),
        }

    def _until(self, writes: bool, share: float, reached: Any) -> float:
        """Let that much through until it is reached; seconds."""
        began = time.monotonic()
        ray.get(self._curator.allow.remote(writes, share))
        while not reached():
            if time.monotonic() - began > HALF_S:
                raise TimeoutError(f"after {HALF_S:g} s: {self._status}")
            time.sleep(0.1)
        return time.monotonic() - began

    def _written(self, share: float) -> bool:
        """So much is written and all textbooks are, or nothing more is ordered by now; and nothing is under way."""
        status = self._look()
        done = status["written"] >= share * EXERCISES and status["phase"] not in ("graph", "writing")
        if done and status["outstanding"]:
            ray.get(self._curator.allow.remote(False, 0.0))
        return not status["outstanding"] and (done or not status["queue_depth"])

    def _trained(self, share: float) -> bool:
        status = self._look()
        return bool(status["steps"]) and status["step"] >= int(share * status["steps"])

    def _look(self) -> dict[str, Any]:
        self._status = self._ring.status()
        return self._status
