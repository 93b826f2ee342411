import json
from pathlib import Path

import pytest
import yaml

from dsa_ray.cli import main
from dsa_ray.config import parse
from dsa_ray.skills.files.formats import graph_text, read_graph
from dsa_ray.skills.graph import to_node_link
from dsa_ray.storage.run_folder import RunFolder
from tests.skills.builders import a_graph

CALCULUS = a_graph("limit>calculus", "number>limit")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calculus.yaml").write_text(graph_text(CALCULUS, "yaml"))
    return tmp_path


def a_run(folder: Path) -> RunFolder:
    config = parse({"run": {"name": "first", "storage": str(folder / "runs")}, "graph": {"target": "calculus"}})
    run = RunFolder.create(config.run.storage, config)
    run.write_text("graph.json", json.dumps(to_node_link(CALCULUS, {"limit": {"accuracy": 0.75}})))
    return run


def test_show_writes_one_page(here: Path, capsys) -> None:
    assert main(["graph", "show", "calculus.yaml"]) == 0
    assert "Limit" in (here / "calculus.html").read_text()
    assert "3 skills, 2 edges" in capsys.readouterr().out


def test_show_draws_the_graph_of_a_run_with_what_was_measured(here: Path) -> None:
    with a_run(here):
        assert main(["graph", "show", "first", "--out", "page.html"]) == 0
    assert "0.75" in (here / "page.html").read_text()


def test_check_names_every_fault_and_fails(here: Path, capsys) -> None:
    (here / "bad.yaml").write_text(
        "target: a\nskills: [{name: a, needs: [b]}, {name: b, needs: [c, nowhere]}, {name: c, needs: [b]}, d, d]"
    )
    assert main(["graph", "check", "bad.yaml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert any("d: 2 skills have this id" in line for line in lines)
    assert any("no skill 'nowhere'" in line for line in lines)
    assert any(line.startswith("cycle: ") for line in lines)


def test_check_names_orphans_and_passes_what_is_sound(here: Path, capsys) -> None:
    (here / "bad.yaml").write_text("target: a\nskills: [a, b]")
    assert main(["graph", "check", "bad.yaml"]) == 1
    assert "b: orphan" in capsys.readouterr().out
    assert main(["graph", "check", "calculus.yaml"]) == 0
    assert capsys.readouterr().out == "no faults\n"


def test_diff_and_merge(here: Path, capsys) -> None:
    (here / "other.json").write_text(graph_text(a_graph("limit>calculus", "slope>calculus"), "nodelink"))
    assert main(["graph", "diff", "calculus.yaml", "other.json"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["+ slope", "- number"]
    assert main(["graph", "merge", "calculus.yaml", "other.json", "--out", "both.graphml"]) == 0
    assert {skill.id for skill in read_graph("both.graphml").skills} == {"calculus", "limit", "number", "slope"}


@pytest.mark.parametrize("format", ["yaml", "nodelink", "graphml"])
def test_what_is_exported_can_be_imported(here: Path, format: str) -> None:
    assert main(["export", "--format", format, "calculus.yaml", "--out", "x"]) == 0
    assert main(["import", "--format", format, "x", "--out", "again.yaml"]) == 0
    assert read_graph("again.yaml") == CALCULUS


def test_a_broken_graph_is_one_line_for_export_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.yaml").write_text("target: x\nskills: 3\n")
    assert main(["export", "--format", "mermaid", "broken.yaml", "--out", "x.mmd"]) == 2
    told = capsys.readouterr().err
    assert "broken.yaml" in told
    assert "Traceback" not in told


def test_mermaid_is_for_export_only(here: Path) -> None:
    assert main(["export", "--format", "mermaid", "calculus.yaml", "--out", "x.mmd"]) == 0
    assert (here / "x.mmd").read_text().startswith("flowchart LR")


def test_an_instructlab_taxonomy_becomes_a_graph_and_exercises(here: Path, capsys) -> None:
    leaf = here / "taxonomy" / "writing" / "rhymes"
    leaf.mkdir(parents=True)
    examples = [{"question": "What rhymes with cat?", "answer": "Hat."}, {"question": "?"}]
    (leaf / "qna.yaml").write_text(yaml.safe_dump({"version": 2, "seed_examples": examples}))
    assert main(["import", "--format", "instructlab", "taxonomy", "--out", "t.yaml"]) == 0
    assert {skill.id for skill in read_graph("t.yaml").skills} == {"taxonomy", "writing", "rhymes"}
    rows = [json.loads(line) for line in (here / "t.exercises.jsonl").read_text().splitlines()]
    assert rows == [{"skills": ["rhymes"], "question": "What rhymes with cat?", "solution": "", "answer": "Hat."}]
    assert "seed example 2 lacks" in capsys.readouterr().err


def test_export_for_instructlab_tells_what_has_too_few_exercises(here: Path, capsys) -> None:
    assert main(["export", "--format", "instructlab", "calculus.yaml", "--out", "t"]) == 0
    assert "limit: 0 exercises" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["graph", "show", "nowhere"],
        ["graph", "show", "nowhere.yaml"],
        ["graph", "diff", "calculus.yaml", "broken.yaml"],
        ["graph", "merge", "calculus.yaml", "calculus.yaml", "--out", "x.txt"],
        ["graph", "add", "nowhere", "--skill", "Slope"],
        ["import", "--format", "graphml", "broken.yaml", "--out", "x.yaml"],
        ["export", "--format", "yaml", "calculus.yaml", "--out", "no/such/folder.yaml"],
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(here: Path, arguments: list[str], capsys) -> None:
    (here / "broken.yaml").write_text("target: [")
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("dsa: ")
    assert told.count("\n") == 1


def test_a_skill_is_handed_in_to_a_run(here: Path, capsys) -> None:
    with a_run(here) as run:
        assert main(["graph", "add", "first", "--skill", "Slope", "--prerequisites", "Number"]) == 0
        [name] = run.folder.__class__(f"{run.path}/edits").names()
        assert json.loads(run.read_text(f"edits/{name}"))["skill"] == "Slope"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--skill", "Limits"], "has this skill already"),
        (["--skill", "Slope", "--prerequisites", "Cooking"], "no such skill"),
        (["--skill", "Slope", "--prerequisites", "calculus"], "cycle"),
        (["--skill", "?"], "neither a letter nor a digit"),
    ],
)
def test_an_edit_that_a_run_would_refuse_is_refused_at_once(here: Path, arguments, fault: str, capsys) -> None:
    with a_run(here):
        assert main(["graph", "add", "first", *arguments]) == 2
    assert fault in capsys.readouterr().err


def test_a_run_that_is_over_takes_no_more_skills(here: Path, capsys) -> None:
    with a_run(here) as run:
        run.write_text("summary.json", "{}")
        assert main(["graph", "add", "first", "--skill", "Slope"]) == 2
    assert "has ended" in capsys.readouterr().err


def test_the_folder_of_a_taxonomy_is_a_source_as_files_and_runs_are(here: Path, capsys) -> None:
    for name in ("limits", "sums"):
        (here / "tree" / name).mkdir(parents=True)
        examples = [{"question": f"What are {name}?", "answer": "Known."}]
        (here / "tree" / name / "qna.yaml").write_text(yaml.safe_dump({"version": 3, "seed_examples": examples}))
    assert main(["graph", "check", "tree"]) == 0
    assert main(["graph", "show", "tree"]) == 0
    assert "limits" in (here / "tree.html").read_text()
    assert main(["export", "tree", "--format", "yaml", "--out", "tree.yaml"]) == 0
    assert {skill.id for skill in read_graph("tree.yaml").skills} == {"tree", "limits", "sums"}
    capsys.readouterr()
    (here / "empty").mkdir()
    assert main(["graph", "check", "empty"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
