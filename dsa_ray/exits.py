"""How a command ends."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `dsa` and of the jobs."""

    OK = 0
    FAILED = 1
    USAGE = 2
    """A broken configuration, refused before anything starts."""
    STALLED = 3
    INTERRUPTED = 130
