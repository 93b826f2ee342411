"""The configurations that come with the project, each planned on the cluster that its first lines speak of."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsa_ray import cli
from dsa_ray.config import Config, load
from dsa_ray.evaluation.exam import load_exam
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.machine import ClusterShape, shape_of
from dsa_ray.memory import estimate
from dsa_ray.placement import crowded_cards, demand, plan
from dsa_ray.preflight import check_models, looks_like_path
from dsa_ray.skills.files.yaml_file import read
from dsa_ray.skills.graph import check

ROOT = Path(__file__).parents[1]
PATHS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.yaml")) if not path.stem.endswith("-skills")}
SHAPES = {
    "quickstart": "cpus=2,memory_gib=16",
    "skillit": "cpus=2,memory_gib=16",
    "yoda": "cpus=2,memory_gib=16",
    "laptop": "cpus=4,memory_gib=24",
    "one-gpu": "cpus=12,gpus=1,gpu_gib=80,memory_gib=120",
    "lora": "cpus=12,gpus=1,gpu_gib=80,memory_gib=120",
    "node-8gpu": "cpus=96,gpus=8,gpu_gib=80,memory_gib=1000",
    "glan": "cpus=96,gpus=8,gpu_gib=80,memory_gib=1000",
    "social-studies": "cpus=96,gpus=8,gpu_gib=80,memory_gib=1000",
    "calculus": "cpus=192,gpus=16,gpu_gib=80,memory_gib=2000,nodes=2",
    "cluster-7b-zero3": "cpus=384,gpus=32,gpu_gib=80,memory_gib=4000,nodes=4",
}
"""The smallest usual cluster for each."""


@pytest.fixture
def loaded(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration named by the parameter, where its user would stand."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return load(PATHS[request.param], own_exam(request.param, tmp_path))


def own_exam(name: str, folder: Path) -> list[str]:
    """The override that names a user's own exam, for the one configuration that needs it."""
    if name != "glan":
        return []
    exam = folder / "exam.jsonl"
    exam.write_text('{"skill": "botany", "question": "Do most plants make their food from light?", "answer": "yes"}\n')
    return [f"evaluate.exam={exam}"]


def test_every_configuration_has_a_cluster_to_be_planned_on() -> None:
    assert SHAPES.keys() == PATHS.keys()


@pytest.mark.parametrize("loaded", PATHS, indirect=True)
def test_every_configuration_loads_and_can_be_placed_on_what_it_asks_for(loaded: Config) -> None:
    check_models(loaded)
    assert plan(loaded, demand(loaded)).cpus > 0
    assert not any(looks_like_path(teacher.model) for teacher in loaded.pool)


@pytest.mark.parametrize("name", PATHS)
def test_a_dry_run_on_its_cluster_shows_placement_and_memory_without_a_warning(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    overrides = own_exam(name, tmp_path)
    assert cli.main(["run", str(PATHS[name]), "--dry-run", "--on", SHAPES[name], *overrides]) == 0
    text = capsys.readouterr().out
    assert "Placement on" in text
    assert "Memory, estimated" in text
    assert "warning" not in text


@pytest.mark.parametrize("name", PATHS)
def test_a_run_is_named_after_its_file(name: str) -> None:
    assert load(PATHS[name]).run.name == name


@pytest.mark.parametrize("name", PATHS)
def test_every_configuration_says_on_top_what_it_is_for(name: str) -> None:
    assert PATHS[name].read_text().startswith("# ")


@pytest.mark.parametrize("name", ["quickstart", "laptop"])
def test_what_needs_no_gpu_fits_two_cpus(name: str) -> None:
    assert plan(load(PATHS[name]), ClusterShape(cpus=2)).gpus == 0


def test_the_quickstart_uses_nothing_but_what_is_built_in_and_fits_16_gib() -> None:
    config = load(PATHS["quickstart"])
    assert sum(row.gib * row.count for row in estimate(config)) < 16
    assert config.teacher.model.startswith("embedded:")
    assert config.student.model.startswith("embedded:")
    assert config.evaluate.exam == "embedded"


def test_a_student_that_is_too_large_for_its_part_of_a_card_is_told() -> None:
    config = load(PATHS["lora"], ["student.model=Qwen/Qwen3-32B"])
    faults = crowded_cards(plan(config, shape_of(SHAPES["lora"])), estimate(config))
    assert [fault.split()[1] for fault in faults] == ["student"]
    assert "has 24 (0.3 x 80)" in faults[0]


def test_social_studies_is_examined_on_skills_that_its_graph_begins_with() -> None:
    graph = read((ROOT / "configs" / "social-studies-skills.yaml").read_text())
    assert check(graph) == []
    asked = {question.skill for question in load_exam(ROOT / "configs" / "social-studies-exam.jsonl")}
    assert asked <= {skill.id for skill in graph.skills}
    assert len(asked) == 8


def test_every_answer_of_the_social_studies_exam_equals_itself_and_no_other_one() -> None:
    questions = load_exam(ROOT / "configs" / "social-studies-exam.jsonl")
    wrong = {"2": "3", "no": "yes", "yes": "no", "primary": "secondary", "secondary": "primary", "rise": "fall"}
    with AnswerChecker(timeout_s=3.0) as checker:
        assert all(checker.same(question.answer, question.answer) for question in questions)
        assert not any(checker.same(wrong[q.answer], q.answer) for q in questions if q.answer in wrong)


def test_social_studies_has_no_checker_but_votes_and_a_judge_that_did_not_write() -> None:
    config = load(PATHS["social-studies"])
    assert not config.generate.checks.mathematics
    assert config.generate.checks.votes
    assert config.generate.checks.judge
    judges = [teacher for teacher in config.pool if "critiques" in teacher.writes]
    assert all("questions" not in teacher.writes for teacher in judges)
