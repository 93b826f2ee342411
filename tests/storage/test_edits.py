from pathlib import Path

import pytest

from dsa_ray.storage.edits import MAX_BYTES, new_edits, put_edit
from dsa_ray.storage.filesystem import Folder


def test_edits_come_back_in_the_order_handed_in_and_known_ones_do_not(tmp_path: Path) -> None:
    run = Folder(str(tmp_path))
    names = [put_edit(run, {"skill": str(n)}) for n in range(5)]
    assert new_edits(run.url, set()) == [(name, {"skill": str(n)}) for n, name in enumerate(names)]
    assert [name for name, _ in new_edits(run.url, set(names[:4]))] == names[4:]


def test_edits_keep_their_order_when_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Folder(str(tmp_path))
    for now in (2_000, 1_000, 1_500):
        monkeypatch.setattr("time.time_ns", lambda now=now: now)
        put_edit(run, {"at": now})
    assert [row["at"] for _, row in new_edits(run.url, set())] == [2_000, 1_000, 1_500]


def test_a_run_without_edits_has_none(tmp_path: Path) -> None:
    assert new_edits(str(tmp_path), set()) == []


def test_what_is_no_edit_is_none_or_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "edits"
    folder.mkdir()
    (folder / "00000000000000000001-00000000.json").write_text("{")
    (folder / "00000000000000000002-00000000.json").write_text("x" * (MAX_BYTES + 1))
    (folder / "00000000000000000003-00000000.json.7-8.tmp").write_text('{"skill": "half written"}')
    (folder / "readme.json").write_text('{"skill": "no name of an edit"}')
    assert [row for _, row in new_edits(str(tmp_path), set())] == [None, None]


def test_a_long_edit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most"):
        put_edit(Folder(str(tmp_path)), {"skill": "x" * MAX_BYTES})
