import json
import os
import stat
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsa_ray.storage import journal
from dsa_ray.storage.journal import JournalError, SegmentWriter, iter_segments, read_segment, segment_name

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
rows_strategy = st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=5)

ROWS = [{"id": 1, "text": "a\nb"}, {"id": 2, "text": "é\u2028\x85"}]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segments=st.lists(rows_strategy, min_size=1, max_size=3))
def test_whatever_is_written_is_read_back_in_order(tmp_path_factory: pytest.TempPathFactory, segments) -> None:
    folder = str(tmp_path_factory.mktemp("journal"))
    writer = SegmentWriter(folder, "events")

    assert [writer.write(rows) for rows in segments] == list(range(len(segments)))

    assert list(iter_segments(folder, "events")) == list(enumerate(segments))


@pytest.mark.parametrize("text", ["\ud800", "\ud83d\ude00", "\x00", "\r\n", "\u2029"])
def test_hostile_text_comes_back_exactly(tmp_path: Path, text: str) -> None:
    SegmentWriter(str(tmp_path), "written").write([{"text": text}])

    assert read_segment(str(tmp_path), "written", 0) == [{"text": text}]


def test_a_segment_is_json_lines_and_a_footer_that_names_it(tmp_path: Path) -> None:
    SegmentWriter(str(tmp_path), "written").write(ROWS)

    lines = (tmp_path / "written-00000000.jsonl").read_bytes().split(b"\n")

    assert [json.loads(line) for line in lines[:2]] == ROWS
    assert json.loads(lines[2]).keys() == {"stream", "segment", "rows", "crc32"}
    assert lines[3:] == [b""]


def test_a_segment_cut_at_any_byte_is_refused_alone_and_skipped_when_last(tmp_path: Path) -> None:
    writer = SegmentWriter(str(tmp_path), "written")
    writer.write(ROWS)
    path = tmp_path / segment_name("written", writer.write(ROWS))
    whole = path.read_bytes()

    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(JournalError, match="torn or corrupt"):
            read_segment(str(tmp_path), "written", 1)
        with pytest.warns(UserWarning, match="00000001"):
            assert list(iter_segments(str(tmp_path), "written")) == [(0, ROWS)]


def test_a_changed_or_added_byte_anywhere_is_found(tmp_path: Path) -> None:
    number = SegmentWriter(str(tmp_path), "written").write(ROWS)
    path = tmp_path / segment_name("written", number)
    whole = path.read_bytes()

    for at in range(len(whole)):
        for damaged in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at] + b" " + whole[at:]):
            path.write_bytes(damaged)
            with pytest.raises(JournalError):
                read_segment(str(tmp_path), "written", number)


def test_a_torn_segment_before_the_last_is_an_error(tmp_path: Path) -> None:
    writer = SegmentWriter(str(tmp_path), "written")
    for _ in range(3):
        writer.write(ROWS)
    path = tmp_path / segment_name("written", 1)
    path.write_bytes(path.read_bytes()[:-3])

    segments = iter_segments(str(tmp_path), "written")

    assert next(segments) == (0, ROWS)
    with pytest.raises(JournalError, match="written-00000001"):
        next(segments)


def test_a_missing_segment_is_an_error_for_readers_and_writers(tmp_path: Path) -> None:
    writer = SegmentWriter(str(tmp_path), "written")
    for _ in range(3):
        writer.write(ROWS)
    (tmp_path / segment_name("written", 1)).unlink()

    with pytest.raises(JournalError, match=r"written-00000001.*missing"):
        list(iter_segments(str(tmp_path), "written"))
    with pytest.raises(JournalError, match="missing"):
        SegmentWriter(str(tmp_path), "written")
    with pytest.raises(JournalError, match="missing"):
        read_segment(str(tmp_path), "written", 1)
    assert [number for number, _ in iter_segments(str(tmp_path), "written", start=2)] == [2]


def test_a_segment_under_another_number_is_found_out(tmp_path: Path) -> None:
    SegmentWriter(str(tmp_path), "written").write(ROWS)
    (tmp_path / segment_name("written", 0)).rename(tmp_path / segment_name("written", 1))

    with pytest.raises(JournalError, match="corrupt"):
        read_segment(str(tmp_path), "written", 1)


def test_a_writer_goes_on_after_the_segments_that_are_there(tmp_path: Path) -> None:
    SegmentWriter(str(tmp_path), "written").write(ROWS)
    SegmentWriter(str(tmp_path), "events").write(ROWS)

    assert SegmentWriter(str(tmp_path), "written").write(ROWS) == 1


def test_a_writer_puts_a_torn_last_segment_aside_and_takes_its_number(tmp_path: Path) -> None:
    writer = SegmentWriter(str(tmp_path), "written")
    writer.write(ROWS)
    writer.write(ROWS)
    path = tmp_path / segment_name("written", 1)
    path.write_bytes(path.read_bytes()[:5])

    with pytest.warns(UserWarning, match="put aside"):
        writer = SegmentWriter(str(tmp_path), "written")

    assert writer.write([{"id": 9}]) == 1
    assert [rows for _, rows in iter_segments(str(tmp_path), "written")] == [ROWS, [{"id": 9}]]
    assert (tmp_path / "written-00000001.jsonl.torn").exists()


def test_leftover_temporary_files_are_ignored_and_cleared(tmp_path: Path) -> None:
    SegmentWriter(str(tmp_path), "written").write(ROWS)
    leftover = tmp_path / "written-00000001.jsonl.77-1.tmp"
    leftover.write_text("half")

    assert [number for number, _ in iter_segments(str(tmp_path), "written")] == [0]
    assert SegmentWriter(str(tmp_path), "written").write(ROWS) == 1
    assert not leftover.exists()


def test_a_second_writer_never_overwrites(tmp_path: Path) -> None:
    first, second = (SegmentWriter(str(tmp_path), "written") for _ in range(2))
    first.write(ROWS)

    with pytest.raises(JournalError, match="only one writer"):
        second.write([{"id": 3}])

    assert read_segment(str(tmp_path), "written", 0) == ROWS


def test_of_many_writers_at_once_one_wins_each_number(tmp_path: Path) -> None:
    writers = [SegmentWriter(str(tmp_path), "written") for _ in range(8)]
    refused = []

    def write(who: int) -> None:
        try:
            writers[who].write([{"who": who}])
        except JournalError:
            refused.append(who)

    threads = [threading.Thread(target=write, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (rows,) = [rows for _, rows in iter_segments(str(tmp_path), "written")]
    assert sorted([*refused, rows[0]["who"]]) == list(range(8))


def test_write_syncs_the_file_before_it_shows_and_the_folder_after(tmp_path: Path, monkeypatch) -> None:
    calls = []
    real_sync, real_link = os.fsync, os.link
    monkeypatch.setattr(
        os, "fsync", lambda handle: (calls.append("dir" if _is_dir(handle) else "file"), real_sync(handle))
    )
    monkeypatch.setattr(os, "link", lambda *args: (calls.append("publish"), real_link(*args)))

    SegmentWriter(str(tmp_path), "written").write(ROWS)

    assert calls == ["file", "publish", "dir"]


def test_a_failed_write_leaves_nothing_and_the_number_free(tmp_path: Path, monkeypatch) -> None:
    writer = SegmentWriter(str(tmp_path), "written")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            writer.write(ROWS)

    assert os.listdir(tmp_path) == []
    assert writer.write(ROWS) == 0


def test_without_hard_links_a_segment_is_still_published_once(tmp_path: Path, monkeypatch) -> None:
    def unsupported(*_: str) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    first, second = (SegmentWriter(str(tmp_path), "written") for _ in range(2))

    assert first.write(ROWS) == 0
    with pytest.raises(JournalError, match="only one writer"):
        second.write(ROWS)


@pytest.mark.parametrize("rows", [[], [{"x": float("nan")}], [{"x": float("inf")}], [{"x": object()}], [{"x": b""}]])
def test_rows_that_are_not_json_are_refused_before_anything_is_written(tmp_path: Path, rows) -> None:
    with pytest.raises(ValueError, match="journal"):
        SegmentWriter(str(tmp_path), "written").write(rows)

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("stream", ["", "Written", "a-b", "../a", "a b"])
def test_stream_names_that_could_be_mistaken_are_refused(tmp_path: Path, stream: str) -> None:
    with pytest.raises(ValueError, match="stream"):
        SegmentWriter(str(tmp_path), stream)


def test_a_folder_that_does_not_exist_holds_no_segments(tmp_path: Path) -> None:
    assert list(iter_segments(str(tmp_path / "none"), "written")) == []


def test_a_journal_needs_no_local_disk() -> None:
    folder = "memory://test_journal/journal"
    writer = SegmentWriter(folder, "written")
    rival = SegmentWriter(folder, "written")
    writer.write(ROWS)
    with pytest.raises(JournalError, match="only one writer"):
        rival.write(ROWS)
    writer.write(ROWS)
    place = journal.Folder(folder)
    name = segment_name("written", 1)
    place.write(name, place.read(name)[:-4])

    with pytest.warns(UserWarning, match="put aside"):
        again = SegmentWriter(folder, "written")

    assert again.write([{"id": 7}]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(iter_segments(folder, "written")) == [(0, ROWS), (1, [{"id": 7}])]


def _is_dir(handle: int) -> bool:
    return stat.S_ISDIR(os.fstat(handle).st_mode)
