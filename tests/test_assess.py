import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dsa_ray import assess, cli
from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.evaluation.exam import Question
from dsa_ray.evaluation.harness import TaskScore
from dsa_ray.exits import Exit
from dsa_ray.report import summary
from dsa_ray.storage.run_folder import RunFolder
from tests.engines.tiny_model import tiny_llama


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Stands in for vLLM and the harness: the base student knows nothing, the trained one half."""
    seen: dict[str, list[Any]] = {"exams": [], "tasks": []}

    async def answers(config: Config, models: Mapping[str, str], questions: Sequence[Question]) -> dict[str, list[str]]:
        seen["exams"].append((dict(models), len(questions)))
        right = [f"Answer: {q.answer}" for q in questions[: len(questions) // 2]]
        blank = ["?"] * len(questions)
        return {when: blank if when == "before" else [*right, *blank][: len(questions)] for when in models}

    def run_tasks(model: str, tasks: Sequence[str], checker: Any, **limits: Any) -> Any:
        seen["tasks"].append((model, tuple(tasks), limits))
        return {Path(task).stem: {"accuracy": TaskScore(value=0.5, stderr=None, n=4)} for task in tasks}

    monkeypatch.setattr(assess, "_answers", answers)
    monkeypatch.setattr(assess, "run_tasks", run_tasks)
    monkeypatch.setattr(assess, "check_harness", lambda: None)
    return seen


@pytest.fixture
def a_run(tmp_path: Path) -> RunFolder:
    exam = tmp_path / "exam.jsonl"
    rows = [{"skill": "sums", "question": f"{n}+1?", "answer": str(n + 1)} for n in range(4)]
    exam.write_text("\n".join(map(json.dumps, rows)))
    config = parse({"run": {"name": "one"}, "graph": {"target": "Sums"}, "evaluate": {"exam": str(exam)}})
    with RunFolder.create(str(tmp_path / "runs"), config) as folder:
        folder.write_text("student/config.json", "{}")
        summary.write(summary.build(run={"state": "finished", "seed": 0}, graph={}), folder)
        return folder


def test_a_run_is_assessed_before_and_after_into_its_summary(engines, a_run: RunFolder, capfd) -> None:
    assert cli.main(["eval", a_run.path, "--tasks", "gsm8k,mine.jsonl", "--limit", "4"]) == 0
    ((models, asked),) = engines["exams"]
    assert list(models) == ["before", "after"]
    assert models["after"] == a_run.student
    assert asked == 4
    assert [(tasks, limits["limit"]) for _, tasks, limits in engines["tasks"]] == [(("gsm8k", "mine.jsonl"), 4)] * 2
    made = summary.read(a_run)
    assert made.tasks["exam"]["accuracy"].before.value == 0.0
    assert made.tasks["exam"]["accuracy"].after.value == 0.5
    assert made.tasks["mine"]["accuracy"].after.n == 4
    assert capfd.readouterr().out.splitlines()[1].split() == ["exam", "accuracy", "4", "0.0000", "0.5000"]


def test_a_later_evaluation_leaves_earlier_tasks_in_the_summary(engines, a_run: RunFolder) -> None:
    assess.assess(assess.Request(target=a_run.path))
    assess.assess(assess.Request(target=a_run.path, tasks=("gsm8k",), sit_exam=False))
    assert set(summary.read(a_run).tasks) == {"exam", "gsm8k"}
    assert len(engines["exams"]) == 1


def test_a_run_without_a_trained_student_is_assessed_before_only(engines, a_run: RunFolder) -> None:
    a_run.folder.delete("student/config.json")
    result = assess.assess(assess.Request(target=a_run.path))
    assert list(result.exams) == ["before"]


def test_a_model_sits_the_built_in_exam(engines) -> None:
    result = assess.assess(assess.Request(target="embedded:student"))
    ((models, asked),) = engines["exams"]
    assert list(models) == ["model"]
    assert asked > 100
    assert assess.lines(result)[1].split()[-2] == "-"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/nowhere/at/all"], "neither a run nor a model"),
        (["embedded:student", "--no-exam"], "nothing left to do"),
        (["embedded:student", "--limit", "0"], "at least 1"),
        (["embedded:student", "--exam", "missing.jsonl"], "missing.jsonl: cannot be read"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(engines, capsys, arguments: list[str], words: str) -> None:
    assert cli.main(["eval", *arguments]) == Exit.USAGE
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_run_on_an_object_store_says_how(engines) -> None:
    config = parse({"run": {"name": "far"}, "graph": {"target": "Sums"}})
    with RunFolder.create("memory://runs", config), pytest.raises(ConfigError, match="copy its student/"):
        assess.assess(assess.Request(target="memory://runs/far"))


@pytest.mark.slow
def test_the_built_in_student_really_sits_an_exam(tmp_path: Path, capfd) -> None:
    exam = tmp_path / "exam.jsonl"
    rows = [{"skill": "sums", "question": f"Add {n} and {n + 3}.", "answer": str(2 * n + 3)} for n in range(3, 9)]
    exam.write_text("\n".join(map(json.dumps, rows)))
    assert cli.main(["eval", "embedded:student", "--exam", str(exam)]) == 0
    assert capfd.readouterr().out.splitlines()[1].split()[:3] == ["exam", "accuracy", "6"]


def test_new_operations_are_asked_with_the_exam_and_need_no_harness(engines, a_run: RunFolder) -> None:
    result = assess.assess(assess.Request(target=a_run.path, tasks=("new-operations", "gsm8k"), limit=8))
    ((_, asked),) = engines["exams"]
    assert asked == 4 + 8
    assert [tasks for _, tasks, _ in engines["tasks"]] == [("gsm8k",)] * 2
    marks = {when: found["new-operations"]["accuracy"] for when, found in result.tasks.items()}
    assert (marks["before"].value, marks["after"].value, marks["after"].n) == (0.0, 0.25, 8)
    assert result.exams["after"].overall.right == 4
    assert summary.read(a_run).tasks["new-operations"]["accuracy"].after.n == 8


def test_leakage_is_the_loss_on_test_minus_that_on_train(a_run: RunFolder, tmp_path: Path, monkeypatch, capfd) -> None:
    sets = []
    for name, answers in (("train", ("1", "2")), ("test", ("3", "5"))):
        sets.append(tmp_path / f"{name}.jsonl")
        sets[-1].write_text("\n".join(json.dumps({"question": f"{name}?", "answer": a}) for a in answers))
    scored = []

    def losses(model: str, rows: Sequence[Mapping[str, str]]) -> list[float]:
        scored.append(model)
        return [float(row["answer"]) / (2 if model == a_run.student else 1) for row in rows]

    monkeypatch.setattr(assess, "_losses", losses)
    assert cli.main(["eval", a_run.path, "--no-exam", "--leakage", ",".join(map(str, sets))]) == 0
    assert scored[2:] == [a_run.student] * 2
    marks = summary.read(a_run).tasks["leakage-test"]["loss_gap"]
    assert (marks.before.value, marks.after.value) == (2.5, 1.25)
    assert "leakage-test" in capfd.readouterr().out


def test_leakage_needs_two_files(a_run: RunFolder, capfd) -> None:
    assert cli.main(["eval", a_run.path, "--leakage", "one.jsonl"]) == 2
    assert "--leakage: name two files" in capfd.readouterr().err


def test_losses_are_of_the_answers_as_the_exam_would_ask(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "model")
    rows = [{"question": "1+1?", "answer": "2"}, {"question": "Why?", "answer": "Because of that."}]
    found = assess._losses(model, rows)
    assert len(found) == 2
    assert all(loss > 0 for loss in found)
