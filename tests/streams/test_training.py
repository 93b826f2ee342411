"""The training stream with a scripted curator: rows flow in order through openings that follow one another."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import ray.data

from dsa_ray.records import ExerciseRequest, Kind, PackedItem, RowPlan, Textbook, TextRef, Written
from dsa_ray.storage.journal import SegmentWriter
from dsa_ray.storage.texts import STREAM, written_row
from dsa_ray.streams.training import configure_context, rows_of, training_stream
from dsa_ray.training.collate import from_batch
from tests.engines.scripted import config

pytestmark = pytest.mark.ring
ROWS = 399


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    yield
    ray.shutdown()


class Curator:
    """Leases `ROWS` numbered rows to the newest reader.

    Args:
        first: at first so many, the others once these are trained.
        per_reader: so many more for every reader that there has been.
    """

    def __init__(self, first: int = ROWS, per_reader: int = ROWS) -> None:
        self._readers = self._given = 0
        self._limit, self._per_reader = first, per_reader

    async def open_rows(self, rank: int) -> tuple[int, int]:
        self._readers += 1
        return 1, self._readers

    async def lease_rows(self, rank: int, attempt: int, n: int, reader: int, call: int) -> list[RowPlan] | None:
        if reader != self._readers or self._given == ROWS:
            return None
        most = min(self._limit, self._per_reader * self._readers)
        first, self._given = self._given, min(most, self._given + n)
        return [plan(number) for number in range(first, self._given)]

    async def trained(self, lease: int) -> None:
        if lease == self._limit - 1:
            self._limit = ROWS

    async def readers(self) -> int:
        return self._readers


def plan(number: int) -> RowPlan:
    ref = TextRef(segment=0, row=0)
    item = PackedItem(exercise=1, prompt=ref, answer=ref, tokens=8, loss_tokens=7, visit=1)
    return RowPlan(
        lease=number, rank=0, attempt=1, step=number, phase="textbooks", progress=0.5, denominator=7.0, items=(item,)
    )


def journal(folder: Path) -> str:
    """One text of eight tokens."""
    text = Written(
        request=ExerciseRequest(id=1, kind=Kind.TEXTBOOK, skills=("limits",), difficulty=1),
        item=Textbook(skill="limits", text="A page."),
        generator="scripted",
        generator_version="1",
        prompt_version="1",
        content_hash=1,
        input_ids=tuple(range(8)),
    )
    SegmentWriter(str(folder), STREAM).write([written_row(text)])
    return str(folder)


def opened(folder: Path, **limits: int) -> tuple[ray.actor.ActorHandle, ray.data.DataIterator]:
    configure_context()
    curator = ray.remote(Curator).options(name=uuid.uuid4().hex, num_cpus=0).remote(**limits)
    settings = config(generate={"max_question_tokens": 16}, train={"row_tokens": 16})
    return curator, training_stream(curator, 0, journal(folder), settings, 0.05).iterator()


def test_a_stream_that_is_opened_anew_misses_no_row_and_gives_none_twice(tmp_path: Path) -> None:
    curator, shard = opened(tmp_path, per_reader=ROWS // 3)
    leases = [int(from_batch(batch)["lease"][0]) for batch in rows_of(shard, reopen_rows=40)]
    assert leases == list(range(ROWS))
    assert ray.get(curator.readers.remote()) >= 3


def test_no_row_is_held_back_until_others_come(tmp_path: Path) -> None:
    curator, shard = opened(tmp_path, first=7)
    leases = []
    for batch in rows_of(shard):
        leases.append(int(from_batch(batch)["lease"][0]))
        curator.trained.remote(leases[-1])
    assert leases == list(range(ROWS))
