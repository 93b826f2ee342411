"""Where a checkpoint is put together before it is uploaded: in memory when it fits, on the local disk when not.

All ranks of a machine stage at the same time into the same memory: each writes down what it will take, and the next one
counts what others have yet to write as taken.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
from safetensors import SafetensorError

from dsa_ray.storage.checkpoints import CheckpointError

SHARED_MEMORY = "/dev/shm"
HEADROOM = 1.25
"""Room asked for, as a multiple of what is expected."""
SPARE_SHARE = 0.1
"""Share of the machine's memory that staging leaves free."""
GIB = 2**30
_PREFIX = "dsa-checkpoint-"
_LOCK = "lock"
"""Held by who stages there; holds the bytes that it asked for."""
_WRITER = "inline_container"
"""In what torch's own writer raises when a write fails: a RuntimeError that tells no reason."""


class Staging:
    """A fresh, empty folder, held by a lock until `discard` or until this process ends, however it ends.

    Args:
        size: bytes that are expected to go into it.
        shared_memory: a file system in memory.
    """

    def __init__(self, size: int, shared_memory: str = SHARED_MEMORY) -> None:
        with _alone():
            _sweep(shared_memory)
            self.reason = unfit(size, shared_memory)
            """Why it is not in memory; empty when it is."""
            root = tempfile.gettempdir() if self.reason else shared_memory
            _sweep(root)
            self._home, self._lock = _held_folder(root)
            self._lock.write(str(int(size * HEADROOM)).encode())
            self._lock.flush()
            self.folder = str(self._home / "files")
            os.mkdir(self.folder)

    @property
    def in_memory(self) -> bool:
        return not self.reason

    def discard(self) -> None:
        """Delete it with all that is in it; may be called more than once."""
        shutil.rmtree(self._home, ignore_errors=True)
        self._lock.close()


@contextlib.contextmanager
def saying_when_full(folder: str) -> Iterator[None]:
    """Whatever a library raises when there is no room to write is one error with one line.

    Raises:
        CheckpointError: no space is left.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not (full or isinstance(error, SafetensorError) or _WRITER in str(error)):
            raise
        told = str(error).strip().splitlines()[0][:200]
        raise CheckpointError(
            f"No space left in {folder} to write a checkpoint ({told}); free some, then go on with --resume"
        ) from error


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process of this user at a time looks for room and takes it."""
    with Path(tempfile.gettempdir(), f"{_PREFIX}{os.getuid()}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _promised(root: str) -> int:
    """Bytes that others have asked for here and not written yet."""
    total = 0
    for home in Path(root).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):  # another user's, or just being made or deleted
            asked = int((home / _LOCK).read_bytes())
            there = sum(file.stat().st_size for file in (home / "files").rglob("*") if file.is_file())
            total += max(0, asked - there)
    return total


def _held_folder(root: str) -> tuple[Path, IO[bytes]]:
    """A new folder and the lock that holds it. Another rank's sweep may come in between and take it for dead."""
    while True:
        home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        lock = (home / _LOCK).open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (home / _LOCK).exists():
            return home, lock
        lock.close()


def _sweep(root: str) -> None:
    """Delete what processes left here that were killed: in memory it would stay until the machine restarts."""
    for home in Path(root).glob(f"{_PREFIX}*"):
        try:
            with (home / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(home, ignore_errors=True)
        except OSError:  # held, another user's, or just being made
            continue


def unfit(size: int, shared_memory: str = SHARED_MEMORY) -> str:
    """Why so many bytes cannot be staged in memory, for people; empty when they can."""
    if not (os.path.isdir(shared_memory) and os.access(shared_memory, os.W_OK)):
        return f"{shared_memory} is not there"
    wanted = int(size * HEADROOM)
    promised = _promised(shared_memory)
    room = max(0, shutil.disk_usage(shared_memory).free - promised)
    if wanted > room:
        return f"{wanted / GIB:.2f} GiB do not fit into {shared_memory} ({room / GIB:.2f} GiB free)"
    memory = _free_memory() - promised
    if wanted > memory:
        return f"{wanted / GIB:.2f} GiB would leave too little memory ({memory / GIB:.2f} GiB to spare)"
    return ""


def _free_memory() -> int:
    """Bytes that may be taken: of the machine and, in a container, of its limit."""
    memory = psutil.virtual_memory()
    free, total = memory.available, memory.total
    limit = _container_limit()
    if limit is not None:
        free, total = min(free, limit[1]), min(total, limit[0])
    return int(free - SPARE_SHARE * total)


def _container_limit(group: str = "/sys/fs/cgroup") -> tuple[int, int] | None:
    """(limit, free) of this container in bytes; cached files count as free. None without a limit."""
    try:
        limit = Path(group, "memory.max").read_text().strip()
        used = int(Path(group, "memory.current").read_text())
        stat = dict(line.split() for line in Path(group, "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return int(limit), int(limit) - used + int(stat.get("inactive_file", 0))
