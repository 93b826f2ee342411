"""Both halves of the ring at a set pace, without arithmetic: a teacher and a trainer that only take time.

    teacher    (_paced_teacher.py) at most `at_once` answers side by side, each after `seconds`
    trainer    a rank that reads the real training stream, sleeps `step_s` per step and reports made-up losses

Everything between the two is what a run has: curator, replica, generation stream with its checks, recorder, journal,
training stream. The losses follow the exercise's id and visit alone, so that some exercises are easy and others hard.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Before Ray is imported: a trainer's thread that outlives its ring must not join whatever other cluster there is.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")

import numpy as np
import ray
import yaml
from _paced_teacher import PACE

from dsa_ray.config import Config, parse
from dsa_ray.embedded import shipped
from dsa_ray.ring import Ring
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.streams.training import configure_context, rows_of, training_stream
from dsa_ray.training.collate import example_ids, example_visits, from_batch
from dsa_ray.training.loop import RowResult, StepReport, StepResult, run_rank

SKILLS = ("Limits", "Derivatives", "Integrals", "Series")
REPORTED = ("step", "phase", "lr", "loss", "grad_norm", "tokens", "loss_tokens", "wait_s", "step_s")


class PacedEngine:
    """A training engine whose step is a sleep.

    Args:
        step_s: seconds per optimizer step.
    """

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s

    def train_row(self, row: Mapping[str, np.ndarray], *, last: bool) -> RowResult:
        count = len(example_ids(row))
        carries = row["labels"] >= 0
        tokens = np.array([int(((row["segment"] == place) & carries).sum()) for place in range(count)])
        return RowResult(loss_of(example_ids(row), example_visits(row)), tokens)

    def step(self, lr: float) -> StepResult:
        time.sleep(self.step_s)
        return StepResult(grad_norm=1.0)


def loss_of(ids: np.ndarray, visits: np.ndarray) -> np.ndarray:
    """Nats: exercises differ, all are learned slowly, and some waver."""
    kind = np.modf(np.abs(np.sin(ids * 12.9898) * 43758.5453))[0]
    waver = np.modf(np.abs(np.sin(ids * 78.233 + visits * 3.7) * 12543.123))[0] - 0.5
    return (0.6 + 1.2 * kind) * 0.97 ** (visits - 1) + waver * np.where(ids % 2, 0.02, 0.3)


def config(name: str, storage: str, **sections: dict[str, Any]) -> Config:
    """A run of the paced teacher over four skills that need no decomposing."""
    graph = Path(storage) / "skills.yaml"
    skills = [{"name": skill} for skill in SKILLS[:-1]] + [{"name": SKILLS[-1], "needs": list(SKILLS[:-1])}]
    graph.write_text(yaml.safe_dump({"target": SKILLS[-1], "skills": skills}))
    off = ("length", "language", "refusal", "contaminated", "duplicate")
    base: dict[str, dict[str, Any]] = {
        "run": {"name": name, "storage": storage},
        "graph": {"target": SKILLS[-1], "file": str(graph)},
        "teacher": {"kind": "python", "factory": "_paced_teacher:teacher"},
        "generate": {"skills_per_exercise": [1], "request_timeout_s": 600.0, "checks": dict.fromkeys(off, False)},
        "train": {"row_tokens": 256, "textbook_passes": 0, "rows_per_step": 1, "checkpoint_every": 10**6},
        "cluster": {"cpus": 2},
        "watch": {"stall_s": 600.0, "hang_s": 900.0},
    }
    base["generate"]["max_question_tokens"] = 128
    for section, values in sections.items():
        base[section] = {**base.get(section, {}), **values}
    return parse(base)


class Pause:
    """Whether the teacher waits; a file, so that it reaches whatever process the replica is."""

    def __init__(self, storage: str) -> None:
        self.path = Path(storage) / "pause"

    def on(self) -> None:
        self.path.touch()

    def off(self) -> None:
        self.path.unlink(missing_ok=True)


@contextmanager
def ring_of(made: Config, pace: dict[str, Any], pause: Pause) -> Iterator[tuple[Any, RunFolder]]:
    """A ring without its trainer, with the teacher waiting: its curator and its folder."""
    here = Path(__file__).parent
    os.environ[PACE] = json.dumps({**pace, "pause": str(pause.path)})
    os.environ["PYTHONPATH"] = os.pathsep.join([str(here), str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    pause.on()
    with RunFolder.create(made.run.storage, made) as folder:
        ring = Ring(made, folder, shipped.resolve(made.student.model), ())
        try:
            ring.start()
            while ring.starting:
                ring.status()
                time.sleep(0.1)
            yield ray.get_actor(f"{made.run.name}/curator"), folder
        finally:
            pause.off()
            ring.stop()


class Trainer(threading.Thread):
    """One rank. `steps` grows while it runs; every step takes one permit of `allowed`.

    Args:
        curator: the actor.
        journal: of the run.
        made: its configuration.
        step_s: seconds per step.
    """

    def __init__(self, curator: Any, journal: str, made: Config, step_s: float) -> None:
        super().__init__(daemon=True)
        self._curator, self._journal, self._config = curator, journal, made
        self.allowed = threading.Semaphore(0)
        self.steps: list[tuple[float, float, float]] = []
        """(time when it ended, seconds waited for rows, seconds of the step)."""
        self.examples = 0
        """Losses reported."""
        self.error: BaseException | None = None
        self._engine = PacedEngine(step_s)

    def run(self) -> None:
        try:
            self._train()
        except BaseException as error:
            self.error = error

    def stop(self, timeout_s: float = 30.0) -> None:
        """End before the run's steps are over, with the rows that are leased already; raises what ended it early."""
        self._engine.step_s = 0.0
        ray.get(self._curator.open_rows.remote(0))  # the trainer's own reader is given no more
        self.allowed.release(10**6)
        self.finish(timeout_s)

    def finish(self, timeout_s: float) -> None:
        """Wait for the end; raises what ended it early."""
        self.join(timeout_s)
        if self.error is not None:
            raise self.error
        if self.is_alive():
            raise TimeoutError(f"{len(self.steps)} steps after {timeout_s:.0f} s")

    def _train(self) -> None:
        configure_context()
        attempt = ray.get(self._curator.begin_attempt.remote(None))
        stream = training_stream(self._curator, 0, self._journal, self._config, 0.1)
        rows = map(from_batch, self._permitted(rows_of(stream.iterator())))
        sent: list[ray.ObjectRef] = []

        def report(step: StepReport) -> None:
            self.steps.append((time.monotonic(), step.wait_s, step.step_s))
            self.examples += len(step.ids)
            told = {"rank": 0, "attempt": attempt, "leases": step.leases}
            told |= {name: getattr(step, name) for name in REPORTED}
            if sent:
                ray.get(sent.pop())
            sent.append(self._curator.observe.remote(told, step.ids, step.losses))

        run_rank(self._engine, rows, self._config.train.rows_per_step, report, self._config.train)
        ray.get(sent)

    def _permitted(self, rows: Iterator[Any]) -> Iterator[Any]:
        for number, row in enumerate(rows):
            if number % self._config.train.rows_per_step == 0:
                self.allowed.acquire()
            yield row


def idle_ratio(steps: list[tuple[float, float, float]]) -> float:
    """Share of the time that the trainer waited for rows."""
    waited, worked = sum(step[1] for step in steps), sum(step[2] for step in steps)
    return waited / (waited + worked) if steps else 0.0
