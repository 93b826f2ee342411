"""A whole GLAN run in one process: scripted teacher, real prompts, real checks, real training of a tiny student."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsa_ray import local
from dsa_ray.cli import main
from dsa_ray.config import parse
from dsa_ray.generation.checks import make_examiner
from dsa_ray.records import Kind
from dsa_ray.storage.edits import put_edit
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, written_from_row
from tests.engines.scripted_taxonomy import taxonomy_writer
from tests.engines.tiny_model import tiny_llama


def test_a_taxonomy_is_drawn_written_trained_and_added_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = tiny_llama(tmp_path / "student", spread=0.02)
    marks = tmp_path / "marks.yaml"
    marks.write_text("name: Knowledge\nbelow: [Science, {name: Trades, keep: false}]")
    config = parse(
        {
            "run": {"name": "glan", "storage": str(tmp_path / "runs")},
            "graph": {"target": "Knowledge", "kind": "taxonomy", "taxonomy": str(marks), "queries": 4},
            "teacher": {"kind": "python", "factory": "tests.engines.scripted_taxonomy:taxonomy_writer"},
            "student": {"model": student},
            "generate": {"exercises_per_skill": 6, "in_flight": 8, "slots": 32},
            "train": {"precision": "fp32", "rows_per_step": 1, "slots": 4, "steps": 12, "learning_rate": 1e-3},
            "dynamics": {"burn_in_verdicts": 8, "window": 64, "cohort_steps": 8, "planted_min": 4},
        }
    )
    with RunFolder.create(config.run.storage, config) as run:
        put_edit(run.folder, {"skill": "Weighing", "needed_by": ["Pure Science studies"]})
        host = local.run(config, run, taxonomy_writer(), make_examiner(config, student, ()), student)
        nodes = {node["id"]: node for node in json.loads(run.read_text("graph.json"))["nodes"]}
        items = [written_from_row(row) for _, rows in iter_segments(run.journal, STREAM) for row in rows]

    subjects = [node for node in nodes.values() if "sessions" in node]
    assert subjects
    for node in subjects:
        names = [(session["name"], session["concepts"]) for session in node["sessions"]]
        assert names == [("Counting", ["number", "tally"]), ("Measuring", ["unit", "ruler"])]
        assert (node["source"], node["generator"].startswith(config.teacher.model)) == ("taxonomy", True)
    assert not any("trades" in id for id in nodes)
    assert nodes["weighing"]["source"] == "hand"

    exercises = [item for item in items if item.request.kind is Kind.EXERCISE]
    on_syllabus = [item for item in exercises if item.request.skills[0] != "weighing"]
    assert on_syllabus
    assert all(item.request.concepts and item.prompt_version.startswith("class_exercise@") for item in on_syllabus)
    assert any(item.request.kind is Kind.TEXTBOOK and item.request.skills == ("weighing",) for item in items)
    facts = host.facts()
    assert facts["rejected"]["schema"] > 0
    assert sum(row["written"] for row in facts["coverage"]) >= len(on_syllabus)
    assert host.status()["coverage"]["covered"] == sum(row["written"] > 0 for row in facts["coverage"])
    assert main(["graph", "show", run.path, "--out", str(tmp_path / "page.html")]) == 0
    told = capsys.readouterr().out
    first = facts["coverage"][0]
    covered = sum(row["written"] > 0 for row in facts["coverage"])
    assert f"\n{covered} of {len(facts['coverage'])} key concepts have an exercise; " in told
    assert f"\n{first['written']:>7}      {first['concept']}\n" in told
    assert f"{first['concept']} ({first['written']})" in (tmp_path / "page.html").read_text()
    assert facts["metrics"]["exercises"]["steps"] == 12
