"""Engines that are being started, and those that never began: no node had room for their process.

An engine that starts has a deadline of its own (`watch.engine_start_s`), which its process keeps. One whose process
Ray has nowhere to put keeps none, so it is kept here: that deadline, and the time in which an autoscaler may bring a
node (`cluster.placement_timeout_s`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import ray

from dsa_ray.config import Config

Done = Callable[[Sequence[ray.ObjectRef]], Sequence[ray.ObjectRef]]


class NeverStarted(Exception):
    """An engine that the run cannot do without has not begun: one line that names it and what to do."""


class Starts:
    """Keeps which engines have not told yet how their start ended.

    Args:
        config: for its deadlines.
        clock: seconds, monotonic.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._within_s = config.watch.engine_start_s + config.cluster.placement_timeout_s
        self._begun: dict[ray.ObjectRef, tuple[str, float, bool]] = {}
        """Of each call: the engine's name, since when, and whether it is needed."""

    def begin(self, name: str, call: ray.ObjectRef, needed: bool = True) -> None:
        """The engine of this name starts; `call` tells how that ends.

        Args:
            needed: the run cannot go on without it.
        """
        self._begun[call] = name, self._clock(), needed

    @property
    def going_on(self) -> bool:
        """Whether one starts that is not overdue."""
        return len(self._begun) > len(self._overdue())

    def take(self, done: Done) -> Sequence[ray.ObjectRef]:
        """Those starts that have ended, well or not.

        Raises:
            NeverStarted: one that is needed is overdue.
        """
        ended = done(list(self._begun))
        for call in ended:
            del self._begun[call]
        for name, needed in self._overdue():
            if needed:
                raise NeverStarted(self._told(name))
        return ended

    def notes(self) -> list[str]:
        """A line for each that is overdue, and that the run does without."""
        return [self._told(name) for name, _ in self._overdue()]

    def _overdue(self) -> list[tuple[str, bool]]:
        now = self._clock()
        return [(name, needed) for name, since, needed in self._begun.values() if now - since > self._within_s]

    def _told(self, name: str) -> str:
        return (
            f"{name} has not started within {self._within_s:.0f} s (cluster.placement_timeout_s, watch.engine_start_s):"
            " no node has room for its CPUs, GPUs and group; `ray status` tells what is asked for and not met"
        )
