"""The configurations that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsa_ray.config import load
from dsa_ray.machine import ClusterShape
from dsa_ray.memory import memory, model_shape
from dsa_ray.placement import demand, plan
from dsa_ray.preflight import check_models, looks_like_path

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_loads_and_can_be_placed_on_what_it_asks_for(path: Path) -> None:
    config = load(path)
    check_models(config)
    assert plan(config, demand(config)).cpus > 0
    assert not looks_like_path(config.teacher.model)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_run_is_named_after_its_file(path: Path) -> None:
    assert load(path).run.name == path.stem


@pytest.mark.parametrize("name", ["quickstart", "laptop"])
def test_what_needs_no_gpu_fits_two_cpus(name: str) -> None:
    config = load(CONFIGS[0].parent / f"{name}.yaml")
    assert plan(config, ClusterShape(cpus=2)).gpus == 0


def test_the_quickstart_uses_nothing_but_what_is_built_in_and_fits_16_gib() -> None:
    config = load(CONFIGS[0].parent / "quickstart.yaml")
    rows = memory(config, model_shape(config.teacher.model), model_shape(config.student.model))
    assert sum(row.gib * row.count for row in rows) < 16
    assert config.teacher.model.startswith("embedded:")
    assert config.student.model.startswith("embedded:")
    assert config.evaluate.exam == "embedded"


def test_the_student_of_the_large_cluster_fits_cards_of_80_gb() -> None:
    config = load(CONFIGS[0].parent / "cluster-7b-zero3.yaml")
    rows = memory(config, model_shape(config.teacher.model), model_shape(config.student.model))
    ranks = next(row for row in rows if row.name == "rank")
    teacher = next(row for row in rows if row.name == "teacher")
    assert ranks.gib < 70
    assert teacher.gib < 4 * 70
    assert demand(config).gpus == 25
