"""Notices that a run no longer moves, and names what is stuck.

who is watched   holds                 moves                                  stuck for `watch.stall_s`
everything       -                     any of the counts                      the run fails
the trainer      rows that are open    steps                                  the run fails, although texts come
the teacher      requests              texts written, rejected; the graph     a warning: training goes on with what is
                                                                              written; without that the run fails
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

_TRAINER = ("step", "attempt", "checkpoint")
_TEACHER = ("written", "textbooks", "skills", "rejected", "answered")
_ANY = ("phase", "exam", *_TRAINER, *_TEACHER)


class Stalled(Exception):
    """Nothing moved for `watch.stall_s`: one line that names it and says who waits for what."""


class Watchdog:
    """Watches the counts that a living run moves.

    Args:
        stall_s: without any progress for this long, the run is stuck.
        start_s: what the first step of an attempt may take longer: weights are loaded and kernels compiled.
        clock: seconds, monotonic.
    """

    def __init__(self, stall_s: float, start_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_s, self._start_s = stall_s, start_s
        self._attempt: tuple[Any, Any] = (None, None)
        self._clock = clock
        self._seen: dict[str, tuple[tuple[Any, ...], float]] = {}

    @property
    def silent_s(self) -> float:
        """Seconds since something last moved."""
        return self._clock() - self._seen["run"][1] if "run" in self._seen else 0.0

    def look(self, status: Mapping[str, Any]) -> str:
        """Call every second or so, once every engine is ready: an engine's start has a deadline of its own.

        Returns:
            A warning while the teacher is stuck and training goes on; else nothing.

        Raises:
            Stalled: with the owner of the wait and what it waits for.
        """
        silent = {
            "run": self._still("run", _ANY, status, busy=True),
            "trainer": self._still("trainer", _TRAINER, status, busy=bool(status.get("open_rows"))),
            "teacher": self._still("teacher", _TEACHER, status, busy=_asked(status) > 0),
        }
        if silent["run"] > self._stall_s:
            raise Stalled(f"no progress for {silent['run']:.0f} s (watch.stall_s): {_stuck(status)}")
        if silent["trainer"] > self._stall_s + (self._start_s if self._is_starting(status) else 0.0):
            raise Stalled(f"no step for {silent['trainer']:.0f} s (watch.stall_s): {_trainer(status)}")
        if silent["teacher"] > self._stall_s:
            return f"nothing written for {silent['teacher']:.0f} s: {_teacher(status)}; training goes on meanwhile"
        return ""

    def _is_starting(self, status: Mapping[str, Any]) -> bool:
        """Whether this attempt of the trainer has not finished a step yet."""
        attempt, step = status.get("attempt"), status.get("step")
        if attempt != self._attempt[0]:
            self._attempt = attempt, step
        return step == self._attempt[1]

    def _still(self, who: str, counts: tuple[str, ...], status: Mapping[str, Any], busy: bool) -> float:
        """Seconds for which somebody who has something to do has moved none of these counts."""
        now = tuple(str(status.get(key)) for key in counts)
        seen, since = self._seen.get(who, ((), 0.0))
        if now != seen or not busy:
            since = self._clock()
        self._seen[who] = now, since
        return self._clock() - since


def _stuck(status: Mapping[str, Any]) -> str:
    """Who waits for what, from the depths of the queues."""
    if status.get("phase") == "exam":
        return "the student's replica does not answer the exam"
    if status.get("open_rows"):
        return _trainer(status)
    if _asked(status):
        return _teacher(status)
    step, steps = status.get("step", 0), status.get("steps", 0)
    return f"phase {status.get('phase')}: nothing is requested and nothing can be trained on (step {step} of {steps})"


def _trainer(status: Mapping[str, Any]) -> str:
    step, steps = status.get("step", 0), status.get("steps", 0)
    return f"the trainer holds {status['open_rows']} rows and finishes no step (at step {step} of {steps})"


def _teacher(status: Mapping[str, Any]) -> str:
    if waiting := status.get("outstanding", 0):
        return (
            f"the teacher holds {waiting} requests, the oldest for {status.get('oldest_request_s', 0):.0f} s, "
            f"and nothing is accepted (phase {status.get('phase')})"
        )
    return f"{status['queue_depth']} requests wait and no teacher replica takes them"


def _asked(status: Mapping[str, Any]) -> int:
    return status.get("outstanding", 0) + status.get("queue_depth", 0)
