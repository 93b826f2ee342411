"""Exercises that were dropped as erroneous and are taken back by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsa_ray import cli, dynamics_commands
from dsa_ray.config import ConfigError
from dsa_ray.curriculum.curator import Curator
from dsa_ray.dynamics.decisions import ExerciseFacts
from dsa_ray.records import Action, Kind, Verdict, VerdictClass
from dsa_ray.report.explain import render, trace
from dsa_ray.storage.edits import new_edits
from dsa_ray.storage.journal import SegmentWriter
from dsa_ray.storage.quarantine import quarantined
from dsa_ray.storage.run_folder import RunFolder
from tests.curriculum.simulation import World, small_config

FACTS = ExerciseFacts(kind=Kind.EXERCISE, skills=("a",), difficulty=1)


def verdict(exercise: int, kind: VerdictClass = VerdictClass.ERRONEOUS, cycle: int = 0) -> Verdict:
    values: dict[str, Any] = {"mean_loss": 1.0, "loss_spread": 0.1, "reason": "erroneous: by hand"}
    return Verdict(exercise=exercise, cycle=cycle, step=1, verdict=kind, **values)


def trained(steps: int = 30) -> World:
    world = World(small_config())
    world.curator.start()
    attempt = world.curator.begin_attempt()
    while world.curator.ledger.closed_step < steps:
        world.write()
        world.train_step(attempt)
    return world


def drop(curator: Curator, exercise: int) -> None:
    curator._carry_out(verdict(exercise))
    assert curator.dropped == 1
    assert curator.sampler.dropped == 1


def some(world: World) -> int:
    return max(number for number in world.curator.table.ids() if not world.curator.table.asked(number).parents)


def test_what_is_taken_back_is_trained_on_again_and_not_dropped_again():
    world = trained()
    curator, exercise = world.curator, some(world)
    drop(curator, exercise)
    curator.edit("one", {"restore": [exercise, 10**9, "strange"]})
    curator.edit("one", {"restore": [exercise]})
    assert (curator.dropped, curator.sampler.dropped) == (0, 0)
    told = [event for event in world.events if event["event"] == "restore"]
    assert [event["exercises"] for event in told] == [[exercise]]
    assert curator.policy.decide(verdict(exercise, cycle=1), FACTS).reason == "restored"
    assert "one" in curator.supply.edits


def test_it_stays_back_when_the_trainer_begins_again_and_in_a_resumed_run():
    world = trained()
    exercise = some(world)
    drop(world.curator, exercise)
    state = world.curator.training_state()
    world.curator.edit("one", {"restore": [exercise]})
    world.curator.restore_training(state)
    assert (world.curator.dropped, world.curator.sampler.dropped) == (0, 0)
    again = Curator(world.config, lambda event: None)
    again.restore_supply(world.events, world.written)
    again.restore_training(state)
    assert (again.dropped, again.sampler.dropped) == (0, 0)
    assert again.policy.decide(verdict(exercise, cycle=1), FACTS).actions == (Action.KEEP,)


@pytest.mark.parametrize("row", [{"restore": None}, {"restore": {}}, {"restore": [True, None, 1.5, []]}])
def test_a_strange_edit_restores_nothing(row: dict[str, Any]):
    curator = trained(5).curator
    curator.edit("strange", row)
    assert not curator.supply.pardoned - {1}


def folder(tmp_path: Path, *, ended: bool = False) -> RunFolder:
    config = small_config(run={"name": "r", "storage": str(tmp_path)})
    with RunFolder.create(str(tmp_path), config) as run:
        rows = [
            {"event": "verdict", "exercise": number, "cycle": 0, "step": step, "verdict": "erroneous",
             "reason": "erroneous: mean 3", "decision": {"actions": ["drop"], "weight": 0.0}, "children": []}
            for number, step in ((7, 3), (8, 4), (9, 9))
        ]  # fmt: skip
        request = {"event": "request", "id": 7, "kind": "exercise", "skills": ["a"], "difficulty": 1, "parents": []}
        restored = {"event": "restore", "exercises": [8], "step": 6, "name": "x", "row": {}}
        attempt = {"event": "attempt", "attempt": 2, "step": 5}
        SegmentWriter(run.journal, "events").write([request | {"cause": None}, *rows, attempt, restored])
        if ended:
            run.write_text("summary.json", "{}")
        return RunFolder.open(run.path)


def test_quarantine_holds_what_was_dropped_and_neither_void_nor_taken_back(tmp_path: Path, capsys):
    run = folder(tmp_path)
    assert list(quarantined(run.journal)) == [7]
    assert cli.main(["restore", run.path]) == 0
    assert capsys.readouterr().out.split() == ["7", "step", "3:", "erroneous:", "mean", "3"]


def test_the_command_hands_an_exercise_in(tmp_path: Path):
    run = folder(tmp_path)
    assert cli.main(["restore", run.path, "7", "7"]) == 0
    assert [row for _, row in new_edits(run.path, ())] == [{"restore": [7]}]
    with pytest.raises(ConfigError, match="is not dropped"):
        dynamics_commands.restore_exercises(run.path, [8])


def test_a_run_that_has_ended_takes_nothing_back(tmp_path: Path):
    with pytest.raises(ConfigError, match="has ended"):
        dynamics_commands.restore_exercises(folder(tmp_path, ended=True).path, [7])


def test_explain_tells_that_it_was_taken_back(tmp_path: Path):
    run = folder(tmp_path)
    SegmentWriter(run.journal, "events").write([{"event": "restore", "exercises": [7], "step": 8}])
    assert "restored   by hand, after step 8" in render(trace(run.journal, 7))
