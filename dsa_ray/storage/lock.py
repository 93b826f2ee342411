"""Keeps two live runs out of one run folder on a file system that this machine can lock."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
import warnings
from typing import IO

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class FolderInUse(Exception):
    """Another live process holds the lock: one line that says which."""


class FolderLock:
    """An exclusive lock on a file, held until `release` or until the process ends, however it ends.

    The kernel's `flock` decides, so a process that was killed leaves nothing stale and a pid that was used again
    deceives nobody. The file also says who holds it, for people: pid, host, since when (Unix seconds).
    """

    def __init__(self, path: str) -> None:
        """Take the lock. Raises `FolderInUse`."""
        self._file: IO[str] | None = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (held, not scoped)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _describe(self._file)
            self._file.close()
            raise FolderInUse(f"{path}: held by a live run ({holder}); end that run first") from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            warnings.warn(f"{path}: this file system has no locks; make sure that only one run uses it", stacklevel=2)
        self._sign()

    def release(self) -> None:
        """Give the lock back; may be called more than once."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _sign(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}, self._file)
        self._file.flush()


def _describe(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f"pid {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "just starting"
