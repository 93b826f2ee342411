"""Killed and resumed from weights, optimizer and curator together, the run goes on as if nothing had happened."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("deepspeed")

import torch
from deepspeed.utils import groups

from dsa_ray import local
from dsa_ray.config import Config
from dsa_ray.curriculum.host import CuratorHost
from dsa_ray.embedded.engine import exact_writer
from dsa_ray.engines.deepspeed_engine import DeepSpeedEngine
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.state import pack_state
from dsa_ray.storage.texts import TextStore
from dsa_ray.training.collate import pack
from dsa_ray.training.loop import StepReport, run_rank
from dsa_ray.training.student import load_student
from tests.test_local import small

SAVED, KILLED = 24, 31
"""Steps at whose end a checkpoint is made, and at which the run dies; between them verdicts fall."""


class Trainer:
    """One rank beside the curator of a run folder whose texts are all written."""

    def __init__(self, config: Config, run: str) -> None:
        torch.manual_seed(0)
        self.config, self.host = config, CuratorHost(config, run)
        self.host.restore()
        self.host.start()
        self.engine = DeepSpeedEngine(load_student(config.student.model, config.train)[0], config.train)
        self._texts = TextStore(RunFolder.open(run).journal)
        self.curve: dict[int, tuple[Any, ...]] = {}

    def train(self, attempt: int, until: int | None = None) -> None:
        """Steps up to `until`, or to the end; the events of each are durable after it."""
        count = self.config.train.rows_per_step
        while until is None or self.host.curator.ledger.closed_step < until:
            plans = self.host.curator.lease_rows(0, attempt, count)
            if plans is None:
                return
            assert len(plans) == count, self.host.status()
            rows = [pack(plan, self._texts.get, self.config.train.row_tokens) for plan in plans]
            run_rank(self.engine, rows, count, lambda step: self._observe(attempt, step), self.config.train)

    def _observe(self, attempt: int, step: StepReport) -> None:
        names = ("step", "phase", "lr", "loss", "grad_norm", "tokens", "loss_tokens", "wait_s", "step_s", "leases")
        report = {name: getattr(step, name) for name in names} | {"rank": 0, "attempt": attempt}
        assert self.host.observe(report, step.ids, step.losses)
        self.host.write_events(self.host.take_events())
        self.curve[step.step] = (step.lr, step.loss, step.grad_norm, step.ids.tolist(), step.losses.tolist())


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Trainer]]:
    # DeepSpeed keeps a clone of a process group that another engine of this process may have ended.
    monkeypatch.setattr(groups, "_WORLD_GROUP", None)
    made: list[Trainer] = []
    yield made
    for trainer in made:
        trainer.engine.close()


def test_losses_and_verdicts_are_those_of_the_uninterrupted_run_to_the_last_bit(tmp_path: Path, trainers) -> None:
    base = small(tmp_path)
    generate = base.generate.model_copy(update={"exercises_per_skill": 8})
    train = base.train.model_copy(update={"steps": 40, "rows_per_step": 2, "slots": 8, "zero_stage": 2})
    config = base.model_copy(update={"generate": generate, "train": train})
    with RunFolder.create(config.run.storage, config) as folder:
        examiner = Examiner(config, StudentTokenizer(config.student.model), ())
        local.generate(config, folder, exact_writer(), examiner)

    straight = Trainer(config, folder.path)
    trainers.append(straight)
    attempt = straight.host.begin_attempt(None)
    straight.train(attempt, SAVED)
    straight.engine.save(str(tmp_path / "saved"), "shards")
    state = pack_state(straight.host.curator.training_state())
    straight.train(attempt, KILLED)
    shutil.copytree(folder.path, tmp_path / "killed")
    straight.train(attempt)

    resumed = Trainer(config, str(tmp_path / "killed"))
    trainers.append(resumed)
    resumed.engine.load(str(tmp_path / "saved"), "shards")
    resumed.train(resumed.host.begin_attempt(state))

    last = max(straight.curve)
    assert sorted(resumed.curve) == list(range(SAVED + 1, last + 1))
    assert resumed.curve == {step: straight.curve[step] for step in resumed.curve}
    assert resumed.host.curator.verdicts == straight.host.curator.verdicts
    assert sum(resumed.host.curator.verdicts.values()) > 10
    facts = [trainer.host.curator.facts()["exercises"] for trainer in trainers]
    assert facts[0] == facts[1]
