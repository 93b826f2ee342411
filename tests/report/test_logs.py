from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest

from dsa_ray.report.logs import Process, UnknownProcess, listing, note, processes, tail
from dsa_ray.storage.filesystem import Folder


def process(**fields: object) -> Process:
    known = Process(name="teacher-0", started=1.0, host=socket.gethostname(), node="n1", pid=7, files=())
    return dataclasses.replace(known, **fields)


def test_the_newest_process_of_a_name_is_the_one_that_is_shown(tmp_path: Path) -> None:
    old, new = tmp_path / "old.out", tmp_path / "new.out"
    old.write_text("from the first\n")
    new.write_text("one\ntwo\nthree\n")
    note(str(tmp_path), process(files=(str(old),)))
    note(str(tmp_path), process(started=2.0, pid=8, files=(str(new),)))
    note(str(tmp_path), process(name="curator", started=3.0))
    shown = tail(processes(Folder(str(tmp_path))), "teacher-0", 2)
    assert shown == [
        f"(the last of 2 processes of this name; pid 8 on {socket.gethostname()})",
        f"==> {new} <==",
        "two",
        "three",
    ]


def test_a_process_that_was_started_after_the_clock_was_set_back_is_still_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now, pid in ((2_000, 7), (1_000, 8), (1_500, 9)):
        monkeypatch.setattr("time.time_ns", lambda now=now: now)
        note(str(tmp_path), process(started=now / 1e9, pid=pid))
    assert [each.pid for each in processes(Folder(str(tmp_path)))] == [7, 8, 9]


def test_a_log_on_another_machine_is_told_how_to_get_at() -> None:
    shown = tail([process(host="elsewhere", files=("/tmp/ray/session/logs/worker-a.out",))], "teacher-0", 10)
    assert shown == ["on elsewhere: ray logs worker-a.out --node-id n1"]


def test_files_that_were_deleted_are_told_of() -> None:
    assert "its files are gone" in tail([process(files=("/nowhere/a.out",))], "teacher-0", 10)[0]


def test_the_driver_is_listed_first(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "driver.log").write_text("hello\n")
    note(str(tmp_path), process())
    lines = listing(processes(Folder(str(tmp_path))))
    assert lines[0].startswith("driver")
    assert lines[1].startswith("teacher-0")
    assert tail(processes(Folder(str(tmp_path))), "driver", 5)[-1] == "hello"


def test_a_name_that_no_process_has_is_one_line_with_those_there_are() -> None:
    with pytest.raises(UnknownProcess, match=r"teacher-9: .* known are teacher-0"):
        tail([process()], "teacher-9", 10)


def test_a_run_that_has_not_begun_has_no_logs(tmp_path: Path) -> None:
    assert listing(processes(Folder(str(tmp_path)))) == ["no process has been noted yet"]


def test_a_log_cannot_steer_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "a.out"
    log.write_text("\x1b[2Jgone\n")
    assert tail([process(files=(str(log),))], "teacher-0", 10)[-1] == " [2Jgone"
