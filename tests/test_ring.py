"""The ring on a local Ray: real streams, real Ray Train, real DeepSpeed; the teacher is the exact writer."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.state import list_actors

from dsa_ray import local
from dsa_ray.config import Config, parse
from dsa_ray.ring import Ring
from dsa_ray.storage.edits import put_edit
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from tests.engines.tiny_model import tiny_llama

pytestmark = [pytest.mark.usefixtures("no_ray_left"), pytest.mark.ring, pytest.mark.timeout(280)]
DEADLINE_S = 240


def small(folder: Path, **train: Any) -> Config:
    return parse(
        {
            "run": {"name": "ring", "storage": str(folder / "runs")},
            "graph": {"target": "Differential calculus", "max_skills": 9, "elementary": ["Addition", "Powers"]},
            "teacher": {"kind": "python", "factory": "dsa_ray.embedded.engine:exact_writer"},
            "student": {"model": tiny_llama(folder / "student", spread=0.02)},
            "generate": {"exercises_per_skill": 8, "in_flight": 16, "slots": 64},
            "train": {
                "ranks": 2,
                "precision": "fp32",
                "rows_per_step": 1,
                "slots": 4,
                "steps": 60,
                "learning_rate": 1e-3,
                "checkpoint_every": 20,
                **train,
            },
            "dynamics": {"burn_in_verdicts": 8, "window": 64, "cohort_steps": 8, "planted_min": 8},
        }
    )


def drive(
    config: Config, each_tick: Callable[[dict[str, Any]], None] = lambda status: None, student: bool = False
) -> dict[str, Any]:
    """Run generation and training to the end; returns the curator's facts.

    Args:
        each_tick: is given the curator's status.
        student: with the replica that sits the exam, on the newest published weights; and ladders, where `yoda.live`.
    """
    with RunFolder.create(config.run.storage, config) as folder:
        ring = Ring(config, folder, config.student.model, ())
        try:
            ring.start()
            if student:
                ring.start_student()
            if config.yoda.live:
                ring.start_ladders()
            ring.begin_training()
            deadline = time.monotonic() + DEADLINE_S
            while not ring.training_over():
                status = ring.status()
                assert status["failure"] is None
                assert time.monotonic() < deadline, f"not over in {DEADLINE_S} s: {status}"
                if student and status["published"]:
                    ring.take_up(status["published"])
                each_tick(status)
                time.sleep(0.2)
            ring.end_generation()
            return ring.facts()
        finally:
            ring.stop()


RANK, CONTROLLER = "RayTrainWorker", "TrainController"
"""Classes of Ray Train's actors."""


def kill_once(actor: str, step: int) -> tuple[Callable[[dict[str, Any]], None], list[int]]:
    """For `drive`: kills an actor of this class at the first status with so many steps; and whom it has killed."""
    killed: list[int] = []

    def each_tick(status: dict[str, Any]) -> None:
        if status["step"] >= step and not killed:
            killed.append(pid_of(actor))
            os.kill(killed[0], signal.SIGKILL)

    return each_tick, killed


def pid_of(actor: str) -> int:
    """Of an actor of this class."""
    alive = list_actors(
        address=ray.get_runtime_context().gcs_address,
        filters=[("class_name", "=", actor), ("state", "=", "ALIVE")],
        detail=True,
    )
    return alive[0].pid


def events(config: Config) -> list[dict[str, Any]]:
    journal = f"{config.run.storage}/{config.run.name}/journal"
    return [row for _, rows in iter_segments(journal, "events") for row in rows]


@pytest.mark.slow
def test_the_ring_trains_on_children_of_verdicts_and_local_replays_it(tmp_path: Path):
    config = small(tmp_path)
    facts = drive(config)
    assert facts["metrics"]["exercises"]["steps"] == 60
    assert sum(facts["verdicts"].values()) >= 50
    assert sum(kind["trained"] for kind in facts["children"].values()) >= 1
    folder = RunFolder.open(f"{config.run.storage}/{config.run.name}")
    assert len(json.loads(folder.read_text("graph.json"))["nodes"]) == facts["status"]["skills"]

    replay = local.replay(folder, config.student.model)
    assert replay.steps == facts["status"]["step"]
    assert replay.compared > 300
    assert replay.worst_loss_error < 1e-4  # two ranks: sums in another order
    assert replay.verdicts == replay.recorded
    assert len(replay.verdicts) == sum(facts["verdicts"].values())


@pytest.mark.slow
def test_a_killed_rank_costs_no_exercise_and_no_loss_counts_twice(tmp_path: Path):
    config = small(tmp_path)
    kill_one_rank, killed = kill_once(RANK, step=30)
    facts = drive(config, kill_one_rank)
    assert killed
    assert facts["status"]["attempt"] == 2
    assert facts["status"]["step"] == facts["status"]["steps"]
    ids = Counter(event["id"] for event in events(config) if event["event"] == "request")
    assert max(ids.values()) == 1
    for exercise in facts["exercises"].values():
        assert len(exercise["losses"]) == exercise["visits"]


@pytest.mark.slow
def test_a_killed_controller_of_the_ranks_costs_the_steps_since_the_last_checkpoint(tmp_path: Path):
    config = small(tmp_path)
    kill_the_controller, killed = kill_once(CONTROLLER, step=30)
    facts = drive(config, kill_the_controller)
    assert killed
    assert facts["status"]["attempt"] == 2
    assert facts["status"]["step"] == facts["status"]["steps"]
    begun = [event["step"] for event in events(config) if event["event"] == "attempt"]
    assert begun[0] == 0
    assert begun[1] >= 20  # from the checkpoint


@pytest.mark.slow
def test_a_killed_curator_is_started_anew_and_nothing_is_lost(tmp_path: Path):
    config = small(tmp_path)
    killed: list[int] = []
    back: list[float] = []

    def kill_the_curator(status: dict[str, Any]) -> None:
        if status["step"] >= 30 and not killed:
            killed.append(status["incarnation"])
            os.kill(killed[0], signal.SIGKILL)
            back.append(time.monotonic())
        elif killed and len(back) == 1 and status["incarnation"] != killed[0]:
            back.append(time.monotonic())

    facts = drive(config, kill_the_curator)
    assert len(back) == 2
    assert facts["status"]["attempt"] == 2
    assert facts["status"]["step"] == facts["status"]["steps"]
    told = events(config)
    assert [event["attempt"] for event in told if event["event"] == "attempt"] == [1, 2]
    minted = Counter(event["id"] for event in told if event["event"] == "request")
    assert max(minted.values()) == 1
    journal = f"{config.run.storage}/{config.run.name}/journal"
    written = Counter(row["id"] for _, rows in iter_segments(journal, "written") for row in rows)
    assert max(written.values()) == 1
    assert written.keys() <= minted.keys()
    assert facts["exercises"].keys() <= written.keys()
    for exercise in facts["exercises"].values():
        assert len(exercise["losses"]) == exercise["visits"]
    replay = local.replay(RunFolder.open(f"{config.run.storage}/{config.run.name}"), config.student.model)
    assert replay.verdicts == replay.recorded
    assert back[1] - back[0] < 30  # some seconds, on a machine that has time


@pytest.mark.slow
def test_a_skill_that_is_added_meanwhile_is_written_and_trained(tmp_path: Path):
    config = small(tmp_path, steps=120)
    added: list[str] = []

    def add_one(status: dict[str, Any]) -> None:
        if status["step"] >= 10 and not added:
            folder = RunFolder.open(f"{config.run.storage}/{config.run.name}").folder
            added.append(put_edit(folder, {"skill": "Rates of change in physics", "prerequisites": ["Chain rule"]}))

    facts = drive(config, add_one)
    assert facts["status"]["edits"] == 1
    mine = {
        e["id"]: e["kind"]
        for e in events(config)
        if e["event"] == "request" and e["skills"][0].startswith("rates-of-change-in")
    }
    assert Counter(mine.values())["textbook"] == 1
    trained = {
        item["exercise"] for e in events(config) if e["event"] == "lease" for r in e["rows"] for item in r["items"]
    }
    assert {mine[id] for id in mine.keys() & trained} >= {"textbook", "exercise"}
