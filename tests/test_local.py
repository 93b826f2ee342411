"""The whole algorithm in one process, with the exact writer as teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsa_ray import local
from dsa_ray.config import Config, parse
from dsa_ray.embedded.engine import exact_writer
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.storage.journal import SegmentWriter
from dsa_ray.storage.run_folder import RunFolder
from tests.engines.tiny_model import tiny_llama


def small(folder: Path, **sections: dict[str, Any]) -> Config:
    base: dict[str, dict[str, Any]] = {
        "run": {"name": "local", "storage": str(folder / "runs")},
        "graph": {"target": "Differential calculus", "max_skills": 5, "elementary": ["Addition", "Powers"]},
        "teacher": {"kind": "python", "factory": "dsa_ray.embedded.engine:exact_writer"},
        "student": {"model": tiny_llama(folder / "student", spread=0.02)},
        "generate": {"exercises_per_skill": 3, "in_flight": 16, "slots": 32},
        "train": {"precision": "fp32", "rows_per_step": 1, "slots": 2, "steps": 40, "learning_rate": 1e-3},
        "dynamics": {"burn_in_verdicts": 4, "window": 32, "cohort_steps": 4, "planted_min": 4},
    }
    return parse({name: {**base.get(name, {}), **sections.get(name, {})} for name in base | sections})


def run(config: Config) -> tuple[RunFolder, dict[str, Any]]:
    with RunFolder.create(config.run.storage, config) as folder:
        examiner = Examiner(config, StudentTokenizer(config.student.model), ())
        host = local.run(config, folder, exact_writer(), examiner, config.student.model)
        return RunFolder.open(folder.path), host.facts()


def test_a_local_run_comes_to_verdicts_and_leaves_a_student(tmp_path: Path):
    folder, facts = run(small(tmp_path))
    assert facts["metrics"]["exercises"]["steps"] == 40
    assert sum(facts["verdicts"].values()) >= 10
    assert (Path(folder.student) / "config.json").is_file()
    assert folder.read_metrics()


def test_a_local_run_replays_to_the_same_losses_and_verdicts(tmp_path: Path):
    config = small(tmp_path)
    folder, facts = run(config)
    replay = local.replay(folder, config.student.model)
    assert replay.steps == facts["status"]["step"]
    assert replay.worst_loss_error == 0.0
    assert replay.verdicts == replay.recorded != {}


def test_the_epoch_wise_schedule_is_one_value_away_and_replays_too(tmp_path: Path):
    dynamics = {"schedule": "epochs", "visits": 2, "burn_in_verdicts": 4, "window": 32, "planted_min": 4}
    config = small(tmp_path, dynamics=dynamics)
    folder, facts = run(config)
    assert facts["status"]["epoch"] >= 3
    assert facts["metrics"]["exercises"]["steps"] == 40
    replay = local.replay(folder, config.student.model)
    assert replay.verdicts == replay.recorded != {}


def test_steps_that_an_attempt_lost_are_not_replayed(tmp_path: Path):
    config = small(tmp_path)
    folder, facts = run(config)
    back = facts["status"]["step"] - 5
    SegmentWriter(folder.journal, "events").write([{"event": "attempt", "attempt": 2, "step": back}])
    replay = local.replay(folder, config.student.model)
    assert replay.steps == back
    assert replay.verdicts == replay.recorded != {}
    assert replay.recorded.keys() < {(number, 0) for number, e in facts["exercises"].items() if e["verdict"]}


def test_two_local_runs_of_one_seed_are_equal_and_of_another_differ(tmp_path: Path):
    verdicts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        _, facts = run(small(tmp_path / name, run={"seed": seed}))
        verdicts.append({number: (e["losses"], e["verdict"]) for number, e in facts["exercises"].items()})
    assert verdicts[0] == verdicts[1]
    assert verdicts[0] != verdicts[2]


def test_a_local_run_whose_mixture_looks_at_held_out_exercises_replays_to_the_same(tmp_path: Path):
    mixed = {"sampler": "skill_it", "rounds": 4, "held_out": 1, "evaluations": 1}
    base = small(tmp_path)
    train, dynamics = base.train.model_dump() | {"steps": 24}, base.dynamics.model_dump() | {"burn_in_verdicts": 1}
    config = small(tmp_path, curriculum=mixed, train=train, dynamics=dynamics)
    folder, facts = run(config)
    assert facts["mixture"]["evaluations"]
    assert facts["mixture"]["held_out"]
    replay = local.replay(folder, config.student.model)
    assert replay.worst_loss_error == 0.0
    assert replay.verdicts == replay.recorded != {}
