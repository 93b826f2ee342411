from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fsspec.core import url_to_fs

from dsa_ray.config import parse
from dsa_ray.records import Exercise, ExerciseRequest, Kind, Prerequisites, Textbook, Written
from dsa_ray.storage import export
from dsa_ray.storage.export import write_tables
from dsa_ray.storage.journal import JournalError, SegmentWriter, segment_name
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import written_row


def a_run(storage: str) -> RunFolder:
    return RunFolder.create(storage, parse({"run": {"name": "one"}, "graph": {"target": "Calculus"}}))


def an_item(number: int, kind: Kind = Kind.EXERCISE, **changes) -> Written:
    item = {
        Kind.PREREQUISITES: Prerequisites(skill="limit", names=(("Function", ""),)),
        Kind.TEXTBOOK: Textbook(skill="limit", text="A limit is ..."),
    }.get(kind, Exercise(skills=("limit", "sum"), question=f"q{number}", solution="because", answer="1/2"))
    return Written(
        request=ExerciseRequest(
            id=number, kind=kind, skills=("limit", "sum"), difficulty=3, parents=changes.pop("parents", ())
        ),
        item=changes.pop("item", item),
        generator="teacher",
        generator_version="0/teacher-1.0",
        prompt_version="exercise@3f9a1c20",
        content_hash=-(2**63),
        input_ids=(5, 6, 7, 8),
        prompt_tokens=2,
        checks=(("schema", "ok"), ("language", "ok")),
    )


def journal(run: RunFolder, *segments: list[Written]) -> None:
    writer = SegmentWriter(run.journal, "written")
    for items in segments:
        writer.write([written_row(item) for item in items])


def table(run: RunFolder, name: str) -> list[dict]:
    fs, path = url_to_fs(f"{run.path}/{name}")
    with fs.open(path, "rb") as file:
        return pq.read_table(file).to_pylist()


@pytest.mark.parametrize("storage", ["local", "memory://test_export/runs"])
def test_the_tables_hold_texts_lineage_and_what_training_made_of_them(tmp_path: Path, storage: str) -> None:
    run = a_run(str(tmp_path) if storage == "local" else storage)
    journal(
        run,
        [an_item(1, Kind.PREREQUISITES), an_item(2, Kind.TEXTBOOK), an_item(3)],
        [an_item(4, Kind.COMPOSED, parents=(3, 1))],
    )
    facts = {4: {"verdict": "easy_to_learn", "losses": [0.5, 0.25], "visits": 2, "weight": 0.5, "children": [9]}}

    assert write_tables(run, facts) == {"textbooks.parquet": 1, "exercises.parquet": 2}

    (page,) = table(run, "textbooks.parquet")
    assert (page["id"], page["text"], page["visits"]) == (2, "A limit is ...", None)
    first, composed = table(run, "exercises.parquet")
    assert (first["id"], first["parents"], first["verdict"], first["losses"]) == (3, [], None, None)
    assert composed == {
        "id": 4,
        "name": "limit.4",
        "messages": [
            {"role": "user", "content": "q4"},
            {"role": "assistant", "content": "because\nAnswer: 1/2"},
        ],
        "skills": ["limit", "sum"],
        "difficulty": 3,
        "parents": [3, 1],
        "kind": "composed",
        "generator": "teacher",
        "generator_version": "0/teacher-1.0",
        "prompt_version": "exercise@3f9a1c20",
        "content_hash": -(2**63),
        "tokens": 4,
        "loss_tokens": 2,
        "checks": [{"check": "schema", "result": "ok"}, {"check": "language", "result": "ok"}],
        "question": "q4",
        "solution": "because",
        "answer": "1/2",
        "verdict": "easy_to_learn",
        "losses": [0.5, 0.25],
        "visits": 2,
        "weight": 0.5,
        "children": [9],
    }
    run.close()


def test_an_item_that_was_written_twice_is_exported_once(tmp_path: Path) -> None:
    with a_run(str(tmp_path)) as run:
        journal(run, [an_item(3), an_item(4)], [an_item(3)])

        write_tables(run, {})

        assert [row["id"] for row in table(run, "exercises.parquet")] == [3, 4]


def test_a_run_without_items_gets_empty_tables(tmp_path: Path) -> None:
    with a_run(str(tmp_path)) as run:
        assert write_tables(run, {}) == {"textbooks.parquet": 0, "exercises.parquet": 0}
        assert table(run, "exercises.parquet") == []


def test_more_rows_than_a_group_are_all_there(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(export, "_ROWS_PER_GROUP", 3)
    with a_run(str(tmp_path)) as run:
        journal(run, [an_item(number) for number in range(8)])

        write_tables(run, {})

        assert [row["id"] for row in table(run, "exercises.parquet")] == list(range(8))


def test_the_caller_decides_how_messages_look_and_lone_surrogates_do_no_harm(tmp_path: Path) -> None:
    item = Exercise(skills=("limit",), question="\ud800?", solution="", answer="")
    with a_run(str(tmp_path)) as run:
        journal(run, [an_item(3, item=item)])

        write_tables(run, {}, messages=lambda written: [{"role": "user", "content": written.item.question + "!"}])

        (row,) = table(run, "exercises.parquet")
        assert row["messages"] == [{"role": "user", "content": "??!"}]
        assert row["question"] == "??"


def test_a_corrupt_journal_leaves_the_older_table(tmp_path: Path) -> None:
    with a_run(str(tmp_path)) as run:
        journal(run, [an_item(1)], [an_item(2)])
        write_tables(run, {})
        Path(run.journal, segment_name("written", 0)).write_bytes(b"")

        with pytest.raises(JournalError):
            write_tables(run, {})

        assert len(table(run, "exercises.parquet")) == 2
        assert not list(Path(run.path).glob("*.tmp"))
