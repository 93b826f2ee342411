from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from dsa_ray.config import parse
from dsa_ray.records import Exercise, ExerciseRequest, Item, Kind, Prerequisites, Textbook, Written
from dsa_ray.storage.datasets import FORMATS, export, push, rows
from dsa_ray.storage.journal import SegmentWriter
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, written_row


def written(number: int, kind: Kind, item: Item, *parents: int) -> Written:
    return Written(
        request=ExerciseRequest(id=number, kind=kind, skills=("limits",), parents=parents),
        item=item,
        generator="some/teacher",
        generator_version="0/teacher-0.1",
        prompt_version=f"{kind.value}@00000000",
        content_hash=number,
        checks=(("schema", "ok"),),
    )


def exercise(number: int, answer: str = "4", kind: Kind = Kind.EXERCISE, *parents: int) -> Written:
    item = Exercise(skills=("limits",), question=f"What is {number} + \ud800?", solution="Add.", answer=answer)
    return written(number, kind, item, *parents)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    config = parse({"run": {"name": "r", "storage": str(tmp_path)}, "graph": {"target": "Limits <b>`|"}})
    with RunFolder.create(str(tmp_path), config) as folder:
        texts = SegmentWriter(folder.journal, STREAM)
        texts.write(
            [
                written_row(written(1, Kind.PREREQUISITES, Prerequisites(skill="limits", names=()))),
                written_row(written(2, Kind.TEXTBOOK, Textbook(skill="limits", text="A page."))),
                *(written_row(exercise(number)) for number in (3, 4, 5, 6)),
            ]
        )
        texts.write([written_row(exercise(3)), written_row(exercise(7, "9", Kind.ANSWER, 4))])
        review = {"event": "review", "agreed": 2, "votes": 3, "score": None}
        SegmentWriter(folder.journal, "events").write(
            [
                {**review, "id": 4, "kept": True, "winner": 7, "reason": "kept"},
                {**review, "id": 5, "kept": False, "winner": 5, "reason": "disagreement"},
                {"event": "verdict", "exercise": 6, "cycle": 0, "step": 3, "verdict": "easy_to_learn"},
                {"event": "verdict", "exercise": 6, "cycle": 1, "step": 9, "verdict": "erroneous"},
                {"event": "verdict", "exercise": 3, "cycle": 0, "step": 4, "verdict": "ambiguous"},
            ]
        )
    return RunFolder.open(f"{tmp_path}/r")


def test_rows_leave_out_what_was_dropped_and_take_the_answer_that_won(run: RunFolder) -> None:
    found = {row["id"]: row for row in rows(run)}
    assert list(found) == [2, 3, 4]
    assert found[4]["answer"] == "9"
    assert found[3]["verdict"] == "ambiguous"
    assert [row["id"] for row in rows(run, everything=True)] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_holds_every_row_and_has_a_card(run: RunFolder, tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    counts = export(run, format, str(out))
    assert {path.name for path in out.iterdir()} == {*counts, "README.md"}
    assert counts[next(iter(counts))] == 2
    front = yaml.safe_load((out / "README.md").read_text().split("---")[1])
    assert front["size_categories"] == ["n<1K"]
    assert {entry["data_files"] for entry in front["configs"]} == set(counts)
    assert "Limits &lt;b>'/" in (out / "README.md").read_text()
    exercises = read(out / next(iter(counts)))
    assert QUESTION[format](exercises[0]) == "What is 3 + ??"


QUESTION: dict[str, Any] = {
    "parquet": lambda row: row["messages"][0]["content"],
    "jsonl": lambda row: row["question"],
    "trl": lambda row: row["prompt"][0]["content"],
    "alpaca": lambda row: row["instruction"],
    "sharegpt": lambda row: row["conversations"][0]["value"],
}


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.split("\n") if line]


def test_textbooks_go_into_a_file_of_their_own(run: RunFolder, tmp_path: Path) -> None:
    export(run, "trl", str(tmp_path / "out"))
    assert read(tmp_path / "out" / "textbooks.jsonl") == [{"text": "A page."}]


def test_pushing_makes_a_private_dataset_of_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    calls: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def create_repo(self, name: str, **options: Any) -> str:
            calls.append((name, options))
            return f"https://hub/{name}"

        def upload_folder(self, **options: Any) -> None:
            calls.append(("upload", options))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert push(str(tmp_path), "me/data") == "https://hub/me/data"
    assert calls[0] == ("me/data", {"repo_type": "dataset", "private": True, "exist_ok": True})
    assert calls[1][1]["folder_path"] == str(tmp_path)
