"""`dsa graph build` on a local Ray: real replicas and streams, scripted teachers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dsa_ray.cli import main
from dsa_ray.skills.files.formats import read_graph
from dsa_ray.skills.graph import check
from tests.engines.tiny_model import tiny_llama

pytestmark = [pytest.mark.usefixtures("no_ray_left"), pytest.mark.ring, pytest.mark.timeout(280)]


def config(folder: Path, factory: str, **graph: object) -> str:
    path = folder / "config.yaml"
    data = {
        "run": {"name": "first", "storage": str(folder / "runs")},
        "graph": {"target": "Differential calculus", "max_skills": 20, **graph},
        "teacher": {"kind": "python", "factory": factory},
        "student": {"model": tiny_llama(folder / "student")},
        "generate": {"in_flight": 16, "slots": 64},
    }
    path.write_text(yaml.safe_dump(data))
    return str(path)


def test_the_teacher_draws_a_graph_that_a_run_can_start_from(tmp_path: Path, capsys) -> None:
    path = config(tmp_path, "dsa_ray.embedded.engine:exact_writer", elementary=["Addition", "Powers"])
    assert main(["graph", "build", path]) == 0
    told = capsys.readouterr().out
    assert "Look at it: dsa graph show" in told
    built = tmp_path / "runs" / "first-graph"
    graph = read_graph(built / "graph.yaml")
    assert check(graph) == []
    assert len(graph.skills) == 20
    assert all(skill.request and skill.generator for skill in graph.skills if skill.source == "teacher")
    assert main(["graph", "check", str(built)]) == 0
    assert not list((built / "journal").glob("*textbook*"))
    assert main(["run", path, f"graph.file={built / 'graph.yaml'}", "--dry-run"]) == 0


@pytest.mark.slow
def test_a_taxonomy_is_drawn_for_people_to_mark(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "tests.engines.scripted_taxonomy:taxonomy_writer",
        target="Knowledge",
        kind="taxonomy",
        until="discipline",
    )
    assert main(["graph", "build", path]) == 0
    marks = tmp_path / "runs" / "first-graph" / "taxonomy.yaml"
    assert yaml.safe_load(marks.read_text())["below"][0]["name"] in ("Science", "Trades")
