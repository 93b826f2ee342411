import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dsa_ray.actors.recorder import Recorder
from dsa_ray.records import Exercise, ExerciseRequest, Kind, Prerequisites, Rejection, TextRef, Written
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.texts import STREAM, TextStore, written_row
from dsa_ray.streams.batches import Examined, Outcome, rejection_row


def written(number: int, kind: Kind = Kind.EXERCISE) -> Written:
    item = (
        Prerequisites(skill="calculus", names=(("Limits", "What a value tends to."),))
        if kind is Kind.PREREQUISITES
        else Exercise(skills=("addition",), question=f"{number} + 1?", solution="", answer=str(number + 1))
    )
    return Written(
        request=ExerciseRequest(id=number, kind=kind, skills=("addition",), cause=(3, 0), parents=(3,)),
        item=item,
        generator="scripted",
        generator_version="0/teacher-0.0",
        prompt_version="exercise@00000000",
        content_hash=1000 + number,
        answer_hash=7,
        input_ids=(1, 2, 3, 4, 5),
        prompt_tokens=2,
        output_tokens=9,
        seconds=0.5,
    )


def passed(number: int, kind: Kind = Kind.EXERCISE) -> Outcome:
    return True, json.dumps(written_row(written(number, kind)))


def failed(number: int) -> Outcome:
    return False, json.dumps(rejection_row(Rejection(request=written(number).request, reason="schema", detail="x")))


def batch(*outcomes: Outcome, token: str = "") -> Examined:
    return Examined(replica=0, token=token, outcomes=list(outcomes))


class Told:
    """What the curator was told."""

    def __init__(self) -> None:
        self.accepted: list[tuple[int, list[dict]]] = []
        self.rejected: list[dict] = []
        self.confirmed: list[str] = []

    def accept(self, segment: int, rows: list[dict]) -> None:
        self.accepted.append((segment, rows))

    def confirm(self, batches: Sequence[Examined]) -> None:
        self.confirmed.extend(batch.token for batch in batches)


def recorder(folder: Path, **settings: float) -> tuple[Recorder, Told]:
    told = Told()
    return Recorder(
        SegmentWriter(str(folder), STREAM), told.accept, told.rejected.extend, told.confirm, **settings
    ), told


def test_what_the_curator_is_told_lies_where_it_is_told(tmp_path: Path):
    recording, told = recorder(tmp_path)
    recording.run([batch(passed(1), failed(2), passed(3))])
    ((segment, rows),) = told.accepted
    assert [row["id"] for row in rows] == [1, 3]
    assert [TextStore(str(tmp_path)).get(TextRef(segment=segment, row=row["row"])) for row in rows] == [
        written(1),
        written(3),
    ]
    assert rows[0] == {
        "id": 1,
        "kind": "exercise",
        "skills": ["addition"],
        "difficulty": 1,
        "parents": [3],
        "cause": [3, 0],
        "tokens": 5,
        "prompt_tokens": 2,
        "answer_hash": 7,
        "row": 0,
        "output_tokens": 9,
        "input_tokens": 0,
        "seconds": 0.5,
        "generator_version": "0/teacher-0.0",
        "cut": False,
    }
    cost = {"output_tokens": 0, "input_tokens": 0, "seconds": 0.0, "generator_version": ""}
    assert told.rejected == [{"id": 2, "attempt": 0, "reason": "schema", "detail": "x", **cost}]
    assert recording.stats() == {"written": 2, "rejected": 1, "repeated": 0, "segments": 1}


def test_prerequisites_are_told_with_their_names(tmp_path: Path):
    recording, told = recorder(tmp_path)
    recording.run([batch(passed(1, Kind.PREREQUISITES))])
    assert told.accepted[0][1][0]["prerequisites"] == [["Limits", "What a value tends to."]]


def test_what_is_delivered_twice_is_written_once_also_by_a_later_process(tmp_path: Path):
    recording, told = recorder(tmp_path)
    recording.run([batch(passed(1), passed(1)), batch(failed(1))])
    recording.run([batch(passed(1), passed(2))])
    later, told_later = recorder(tmp_path)
    for _, rows in iter_segments(str(tmp_path), STREAM):
        later.remember(rows)
    later.run([batch(passed(2), failed(1), passed(3))])
    assert [row["id"] for _, rows in iter_segments(str(tmp_path), STREAM) for row in rows] == [1, 2, 3]
    assert told.rejected == told_later.rejected == []
    assert recording.stats()["repeated"] == 3
    assert sorted(later.take_hashes()) == [1001, 1002, 1003]
    assert list(later.take_hashes()) == []


def test_groups_are_committed_by_size_and_by_time(tmp_path: Path):
    def source() -> Iterator[Examined]:
        for number in range(6):
            yield batch(passed(number), token=str(number))
        time.sleep(0.3)
        yield batch(passed(6), token="6")
        time.sleep(0.3)

    recording, told = recorder(tmp_path, size=4, wait_s=0.1)
    recording.run(source())
    assert [[row["id"] for row in rows] for _, rows in told.accepted] == [[0, 1, 2, 3], [4, 5], [6]]
    assert told.confirmed == list("0123456")


def test_what_came_before_a_broken_stream_is_still_committed(tmp_path: Path):
    def source() -> Iterator[Examined]:
        yield batch(passed(1), token="a")
        raise RuntimeError("the stream broke")

    recording, told = recorder(tmp_path)
    with pytest.raises(RuntimeError, match="the stream broke"):
        recording.run(source())
    assert [row["id"] for _, rows in told.accepted for row in rows] == [1]
    assert told.confirmed == ["a"]


def test_an_empty_source_writes_nothing(tmp_path: Path):
    recording, told = recorder(tmp_path)
    recording.run([batch(), batch()])
    assert told.accepted == []


def test_rows_from_elsewhere_are_durable_and_told_and_count_once(tmp_path: Path):
    by, told = recorder(tmp_path)
    by.take([passed(3)[1], passed(4)[1]])
    by.run([batch(passed(4), passed(5))])
    by.take([passed(5)[1]])
    assert [[row["id"] for row in rows] for _, rows in told.accepted] == [[3, 4], [5]]
    assert [row["id"] for _, rows in iter_segments(str(tmp_path), STREAM) for row in rows] == [3, 4, 5]
    assert by.stats()["repeated"] == 2
