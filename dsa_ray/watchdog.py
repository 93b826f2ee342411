"""Notices that a run no longer moves, and names what is stuck."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

_PROGRESS = ("phase", "step", "written", "textbooks", "skills", "rejected", "exam")


class Stalled(Exception):
    """Nothing moved for `watch.stall_s`: one line that names what is stuck."""


class Watchdog:
    """Watches the counts that a living run moves.

    Args:
        stall_s: without any progress for this long, the run is stuck.
        clock: seconds, monotonic.
    """

    def __init__(self, stall_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_s = stall_s
        self._clock = clock
        self._seen: tuple[Any, ...] = ()
        self._since = clock()

    @property
    def silent_s(self) -> float:
        """Seconds since something last moved."""
        return self._clock() - self._since

    def look(self, status: Mapping[str, Any]) -> None:
        """Call every second or so, once every engine is ready: an engine's start has a deadline of its own.

        Raises:
            Stalled: with the owner of the wait and what it waits for.
        """
        now = tuple(status.get(key) for key in _PROGRESS)
        if now != self._seen:
            self._seen, self._since = now, self._clock()
            return
        if self.silent_s > self._stall_s:
            raise Stalled(f"no progress for {self.silent_s:.0f} s (watch.stall_s): {_stuck(status)}")


def _stuck(status: Mapping[str, Any]) -> str:
    """Who waits for what, from the depths of the queues."""
    step, steps = status.get("step", 0), status.get("steps", 0)
    waiting = status.get("outstanding", 0)
    if status.get("open_rows"):
        return f"the trainer holds {status['open_rows']} rows and finishes no step (at step {step} of {steps})"
    if waiting:
        return (
            f"the teacher holds {waiting} requests, the oldest for {status.get('oldest_request_s', 0):.0f} s, "
            f"and nothing is accepted (phase {status.get('phase')})"
        )
    if status.get("queue_depth"):
        return f"{status['queue_depth']} requests wait and no teacher replica takes them"
    return f"phase {status.get('phase')}: nothing is requested and nothing can be trained on (step {step} of {steps})"
