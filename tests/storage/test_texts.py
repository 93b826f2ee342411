import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.records import (
    LIST_KINDS,
    Critique,
    Exercise,
    ExerciseRequest,
    Hint,
    Kind,
    Prerequisites,
    Textbook,
    TextRef,
    Written,
)
from dsa_ray.storage import texts
from dsa_ray.storage.journal import JournalError, SegmentWriter
from dsa_ray.storage.texts import TextStore, written_from_row, written_row

int64 = st.integers(-(2**63), 2**63 - 1)
names = st.text(max_size=8)
lists = st.builds(Prerequisites, skill=names, names=st.lists(st.tuples(names, names), max_size=3).map(tuple))
pages = st.builds(Textbook, skill=names, text=st.text())
critiques = st.builds(Critique, critique=st.text(), score=st.integers(1, 5))
items = {
    **dict.fromkeys(LIST_KINDS, lists),
    Kind.TEXTBOOK: pages,
    Kind.SYLLABUS: pages,
    Kind.CRITIQUE: critiques,
    Kind.HINT: st.builds(Hint, hint=st.text(), right=st.booleans()),
}
exercises = st.builds(
    Exercise, skills=st.lists(names, max_size=3).map(tuple), question=st.text(), solution=st.text(), answer=st.text()
)


@st.composite
def written_items(draw: st.DrawFn) -> Written:
    kind = draw(st.sampled_from(list(Kind)))
    request = ExerciseRequest(
        id=draw(int64),
        kind=kind,
        concepts=draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=2).map(tuple)),
        skills=draw(st.lists(names, max_size=3).map(tuple)),
        difficulty=draw(st.integers(1, 5)),
        parents=draw(st.lists(int64, max_size=2).map(tuple)),
        cause=draw(st.none() | st.tuples(int64, st.integers(0, 9))),
        attempt=draw(st.integers(0, 9)),
        seed=draw(int64),
    )
    return Written(
        request=request,
        item=draw(items.get(kind, exercises)),
        generator=draw(names),
        generator_version=draw(names),
        prompt_version=draw(names),
        content_hash=draw(int64),
        answer_hash=draw(int64),
        input_ids=draw(st.lists(st.integers(0, 200_000), max_size=6).map(tuple)),
        prompt_tokens=draw(st.integers(0, 6)),
        checks=draw(st.lists(st.tuples(names, names), max_size=3).map(tuple)),
        output_tokens=draw(st.integers(0, 900)),
        seconds=draw(st.floats(allow_nan=False, allow_infinity=False)),
    )


def an_exercise(number: int) -> Written:
    return Written(
        request=ExerciseRequest(id=number, kind=Kind.EXERCISE, skills=("limit",)),
        item=Exercise(skills=("limit",), question=f"q{number}", solution="s", answer="1"),
        generator="g",
        generator_version="0",
        prompt_version="exercise@0",
        content_hash=number,
        input_ids=(1, 2, 3),
        prompt_tokens=1,
    )


def fill(folder: str, segments: int, rows: int) -> None:
    writer = SegmentWriter(folder, "written")
    for segment in range(segments):
        writer.write([written_row(an_exercise(segment * rows + row)) for row in range(rows)])


@settings(deadline=None)
@given(written=written_items())
def test_a_written_item_comes_back_equal_through_json(written: Written) -> None:
    assert written_from_row(json.loads(json.dumps(written_row(written)))) == written


def test_an_item_of_another_kind_than_was_asked_for_is_refused() -> None:
    request = ExerciseRequest(id=4, kind=Kind.TEXTBOOK, skills=("limit",))
    wrong = Written(
        request=request,
        item=an_exercise(1).item,
        generator="g",
        generator_version="0",
        prompt_version="p",
        content_hash=0,
    )

    with pytest.raises(ValueError, match="request 4 of kind textbook holds a Exercise"):
        written_row(wrong)


def test_the_store_finds_each_item_by_its_place(tmp_path: Path) -> None:
    fill(str(tmp_path), segments=3, rows=4)
    store = TextStore(str(tmp_path), cache_segments=2)

    found = [store.get(TextRef(segment=s, row=r)) for s in (2, 0, 1, 2) for r in range(4)]

    assert found == [an_exercise(s * 4 + r) for s in (2, 0, 1, 2) for r in range(4)]


def test_the_store_reads_a_cached_segment_once_and_forgets_the_least_recently_used(tmp_path: Path, monkeypatch) -> None:
    fill(str(tmp_path), segments=3, rows=1)
    reads = []
    real = texts.read_lines
    monkeypatch.setattr(texts, "read_lines", lambda folder, stream, n: (reads.append(n), real(folder, stream, n))[1])
    store = TextStore(str(tmp_path), cache_segments=2)

    for segment in (0, 1, 0, 2, 0, 1):
        store.get(TextRef(segment=segment, row=0))

    assert reads == [0, 1, 2, 1]


def test_the_store_sees_segments_written_after_it_was_made(tmp_path: Path) -> None:
    store = TextStore(str(tmp_path))
    fill(str(tmp_path), segments=1, rows=1)

    assert store.get(TextRef(segment=0, row=0)) == an_exercise(0)


@pytest.mark.parametrize(
    ("segment", "row", "says"), [(0, 2, "has 2 rows, row 2"), (0, -1, "row -1"), (5, 0, "written-00000005.*missing")]
)
def test_a_place_that_holds_nothing_is_an_error_that_names_it(
    tmp_path: Path, segment: int, row: int, says: str
) -> None:
    fill(str(tmp_path), segments=1, rows=2)

    with pytest.raises(JournalError, match=says):
        TextStore(str(tmp_path)).get(TextRef(segment=segment, row=row))


def test_threads_share_a_store(tmp_path: Path) -> None:
    fill(str(tmp_path), segments=6, rows=5)
    store = TextStore(str(tmp_path), cache_segments=2)
    places = [(n % 6, n % 5) for n in range(300)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: store.get(TextRef(segment=place[0], row=place[1])).request.id, places))

    assert found == [segment * 5 + row for segment, row in places]


def test_the_store_needs_no_local_disk() -> None:
    fill("memory://test_texts/journal", segments=2, rows=2)

    assert TextStore("memory://test_texts/journal").get(TextRef(segment=1, row=1)) == an_exercise(3)
