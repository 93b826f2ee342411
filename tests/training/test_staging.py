import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from safetensors import SafetensorError

from dsa_ray.storage.checkpoints import CheckpointError
from dsa_ray.training.staging import (
    GIB,
    HEADROOM,
    Staging,
    _container_limit,
    _sweep,
    saying_when_full,
    unfit,
)


def test_what_fits_is_staged_in_memory_and_goes_away(tmp_path: Path) -> None:
    staging = Staging(1000, str(tmp_path))
    assert staging.in_memory
    assert Path(staging.folder).is_relative_to(tmp_path)
    Path(staging.folder, "file").write_text("x")
    staging.discard()
    staging.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_goes_to_the_disk_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "disk"))
    os.mkdir(tmp_path / "disk")
    staging = Staging(1 << 60, str(tmp_path))
    assert not staging.in_memory
    assert f"do not fit into {tmp_path}" in staging.reason
    assert Path(staging.folder).is_relative_to(tmp_path / "disk")
    staging.discard()


def test_what_another_rank_has_yet_to_write_counts_as_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "disk"))
    monkeypatch.setattr("dsa_ray.training.staging._free_memory", lambda: 1 << 60)
    memory = tmp_path / "memory"
    for folder in (memory, tmp_path / "disk"):
        folder.mkdir()
    room = SimpleNamespace(free=int(1.5 * HEADROOM * 1000))
    monkeypatch.setattr("shutil.disk_usage", lambda path: room)
    first = Staging(1000, str(memory))
    second = Staging(1000, str(memory))
    assert (first.in_memory, second.in_memory) == (True, False)
    Path(first.folder, "file").write_bytes(bytes(1000))
    room.free -= 1000
    third = Staging(100, str(memory))
    assert third.in_memory
    for staging in (first, second, third):
        staging.discard()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_a_full_folder_is_one_error_whoever_writes(error: Exception) -> None:
    with (
        pytest.raises(CheckpointError, match=r"^No space left in /somewhere to write") as told,
        saying_when_full("/somewhere"),
    ):
        raise error
    assert "\n" not in str(told.value)


def test_other_errors_of_a_writer_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="out of memory"), saying_when_full("/somewhere"):
        raise RuntimeError("out of memory")


def test_memory_that_is_short_or_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unfit(1, str(tmp_path / "nowhere")) == f"{tmp_path}/nowhere is not there"
    monkeypatch.setattr("dsa_ray.training.staging._free_memory", lambda: GIB)
    assert "too little memory (1.00 GiB to spare)" in unfit(GIB, str(tmp_path))


def test_a_containers_limit_counts_and_its_file_cache_does_not(tmp_path: Path) -> None:
    assert _container_limit(str(tmp_path)) is None
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 400\n")
    assert _container_limit(str(tmp_path)) == (1000, 700)
    (tmp_path / "memory.max").write_text("max\n")
    assert _container_limit(str(tmp_path)) is None


def test_what_a_killed_process_left_in_memory_is_swept(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from dsa_ray.training.staging import Staging\n"
        "print(Staging(10, sys.argv[1]).folder, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    dead = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    left = Path(dead.stdout.strip())
    assert left.is_dir()
    first = Staging(10, str(tmp_path))
    assert not left.exists()
    second = Staging(10, str(tmp_path))
    assert Path(first.folder).is_dir()  # held by a living process
    first.discard()
    second.discard()


def test_a_sweep_between_making_and_locking_takes_no_folder_away(tmp_path: Path, monkeypatch):
    flock = fcntl.flock
    swept: list[bool] = []

    def slow(lock: IO[bytes], operation: int) -> None:
        if operation == fcntl.LOCK_EX and Path(lock.name).name == "lock" and not swept:
            swept.append(True)
            _sweep(str(tmp_path))
        flock(lock, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    staging = Staging(1000, str(tmp_path))
    assert swept
    Path(staging.folder, "file").write_text("x")
    _sweep(str(tmp_path))
    assert Path(staging.folder, "file").exists()
    staging.discard()
    assert not list(tmp_path.iterdir())
