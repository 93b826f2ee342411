"""Learning a run's graph from its exercises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsa_ray import graph_learn, local
from dsa_ray.cli import main
from dsa_ray.embedded.engine import exact_writer
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.skills.files.formats import read_graph
from dsa_ray.storage.run_folder import RunFolder
from tests.test_local import small


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a run that has written its exercises."""
    config = small(tmp_path_factory.mktemp("learn"), generate={"exercises_per_skill": 6, "in_flight": 16, "slots": 32})
    with RunFolder.create(config.run.storage, config) as folder:
        examiner = Examiner(config, StudentTokenizer(config.student.model), ())
        local.generate(config, folder, exact_writer(), examiner)
        return folder.path


def learn(run: str, out: Path, *more: str) -> int:
    return main(["graph", "learn", run, "--out", str(out), "--steps", "2", "--batch", "2", "--held-out", "2", *more])


def serially(function, shared, calls):
    for name, arguments in calls.items():
        yield name, function(shared, *arguments)


def test_the_estimate_comes_first_and_alone_if_asked(written: str, tmp_path: Path, capsys) -> None:
    assert learn(written, tmp_path / "g.json", "--estimate", "--method", "pairs") == 0
    told = capsys.readouterr().out
    assert "runs of 2 steps" in told
    assert "CPU hours" in told
    assert not (tmp_path / "g.json").exists()


def test_a_stopped_learning_goes_on_and_a_finished_one_trains_nothing(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(graph_learn.ray, "init", lambda **_: None)
    made = []

    def stopped(function, shared, calls):
        for number, (name, result) in enumerate(serially(function, shared, calls)):
            if number == 2:
                raise KeyboardInterrupt
            made.append(name)
            yield name, result

    monkeypatch.setattr(graph_learn, "run_tasks", stopped)
    assert learn(written, tmp_path / "g.json") == 130
    assert len(made) == 2

    def rest(function, shared, calls):
        assert not set(made) & set(calls)
        made.extend(calls)
        yield from serially(function, shared, calls)

    monkeypatch.setattr(graph_learn, "run_tasks", rest)
    assert learn(written, tmp_path / "g.json") == 0
    graph = read_graph(tmp_path / "g.json")
    assert len(made) == len(graph.skills)
    assert any(edge.transfer is not None for edge in graph.edges)
    told = capsys.readouterr().out
    assert "not borne out" in told
    monkeypatch.setattr(graph_learn, "run_tasks", None)
    assert learn(written, tmp_path / "g.yaml") == 0
    assert read_graph(tmp_path / "g.yaml") == graph
    files = [json.loads(path.read_text()) for path in (Path(written) / "transfer").iterdir()]
    assert sorted(len(file["skills"]) for file in files) == [1] * len(graph.skills)
    assert main(["graph", "show", str(tmp_path / "g.json"), "--out", str(tmp_path / "g.html")]) == 0


def test_too_few_exercises_are_one_line(written: str, tmp_path: Path, capsys) -> None:
    arguments = ["graph", "learn", written, "--out", str(tmp_path / "g.json"), "--held-out", "500"]
    assert main(arguments) == 2
    assert "fewer than two skills" in capsys.readouterr().err


@pytest.mark.ring
def test_the_runs_are_ray_tasks(written: str, tmp_path: Path) -> None:
    assert learn(written, tmp_path / "g.json", "--method", "pairs") == 0
    assert read_graph(tmp_path / "g.json").skills
