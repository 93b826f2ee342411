"""Where a checkpoint is put together before it is uploaded: in memory when it fits, on the local disk when not."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

import psutil

SHARED_MEMORY = "/dev/shm"
HEADROOM = 1.25
"""Room asked for, as a multiple of what is expected."""
SPARE_SHARE = 0.1
"""Share of the machine's memory that staging leaves free."""
GIB = 2**30
_PREFIX = "dsa-checkpoint-"
_LOCK = "lock"


class Staging:
    """A fresh, empty folder, held by a lock until `discard` or until this process ends, however it ends.

    Args:
        size: bytes that are expected to go into it.
        shared_memory: a file system in memory.
    """

    def __init__(self, size: int, shared_memory: str = SHARED_MEMORY) -> None:
        self.reason = unfit(size, shared_memory)
        """Why it is not in memory; empty when it is."""
        root = tempfile.gettempdir() if self.reason else shared_memory
        _sweep(root)
        self._home, self._lock = _held_folder(root)
        self.folder = str(self._home / "files")
        os.mkdir(self.folder)

    @property
    def in_memory(self) -> bool:
        return not self.reason

    def discard(self) -> None:
        """Delete it with all that is in it; may be called more than once."""
        shutil.rmtree(self._home, ignore_errors=True)
        self._lock.close()


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
    room = shutil.disk_usage(shared_memory).free
    if wanted > room:
        return f"{wanted / GIB:.2f} GiB do not fit into {shared_memory} ({room / GIB:.2f} GiB free)"
    memory = _free_memory()
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
