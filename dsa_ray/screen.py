"""Keeps the screen for the live view: what frameworks print goes to a file in the run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def quiet(log: str | None) -> Iterator[TextIO]:
    """Send everything that this process writes to its file descriptors 1 and 2 into `log` (None: nowhere).

    Yields the terminal, for whoever is allowed to write to it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if log is not None:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(1), os.dup(2)
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    terminal = os.fdopen(os.dup(kept[0]), "w", encoding="utf-8", errors="replace")
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield terminal
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        terminal.flush()
        terminal.close()
        for number, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, number)
            os.close(saved)
        os.close(target)
