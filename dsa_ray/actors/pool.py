"""The teacher replicas of a run: how many there are now, and the change to how many there should be.

A replica is a slot with a number, which says whose weights it serves (`curriculum.routing`). Without
`generate.min_replicas` every slot is filled from the start to the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle

from dsa_ray.config import Config
from dsa_ray.curriculum.scaling import PoolBounds, Scaler

RETIRE_CALL_S = 5.0


@dataclass(slots=True)
class _Slot:
    index: int
    teacher: int
    replica: ActorHandle | None = None
    retiring: bool = False
    ended: int | None = None
    """The last incarnation that was ended because of what it answered."""


class ReplicaPool:
    """Fills and empties slots.

    Args:
        config: its pool of teachers and `generate.min_replicas`.
        start: makes the replica of (slot, teacher) and lets its engine start.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        config: Config,
        start: Callable[[int, int], ActorHandle],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start, self._clock = start, clock
        self._least = config.generate.min_replicas
        teachers = [number for number, teacher in enumerate(config.pool) for _ in range(teacher.replicas)]
        self._slots = [_Slot(index, teacher) for index, teacher in enumerate(teachers)]
        self._scalers = [
            Scaler(PoolBounds(least=self._least or 0, most=teacher.replicas, in_flight=config.generate.in_flight))
            for teacher in config.pool
        ]

    @property
    def most(self) -> int:
        """Slots."""
        return len(self._slots)

    @property
    def replicas(self) -> list[ActorHandle]:
        """Those that are there."""
        return [slot.replica for slot in self._slots if slot.replica is not None]

    def open(self) -> None:
        """Fill what is there from the start."""
        for number in range(len(self._scalers)):
            slots = self._of(number)
            for slot in slots if self._least is None else slots[: self._least]:
                slot.replica = self._start(slot.index, slot.teacher)

    def scale(self, backlogs: Sequence[int]) -> None:
        """Look once: start what is wanted, retire what is not, end what has retired. Never waits long."""
        if self._least is None:
            return
        self._end_retired()
        for number, backlog in enumerate(backlogs):
            slots = self._of(number)
            running = [slot for slot in slots if slot.replica is not None and not slot.retiring]
            wanted = self._scalers[number].wanted(backlog, len(running), self._clock())
            free = [slot for slot in slots if slot.replica is None]
            for slot in free[: max(0, wanted - len(running))]:
                slot.replica = self._start(slot.index, slot.teacher)
            for slot in running[wanted:]:
                slot.retiring = True

    def replace(self, condemned: Mapping[str, int]) -> None:
        """End processes that answer garbage; Ray starts others in their place.

        Args:
            condemned: the incarnation that has to end, by the replica's name (`curriculum.garbage`). Each is ended
                once, however often it is named.
        """
        for slot in self._slots:
            incarnation = condemned.get(f"teacher-{slot.index}")
            if slot.replica is not None and incarnation is not None and incarnation != slot.ended:
                slot.ended = incarnation
                ray.kill(slot.replica, no_restart=False)

    def close(self) -> None:
        """End all replicas at once."""
        for slot in self._slots:
            self._end(slot)

    def _end_retired(self) -> None:
        """A replica ends when nothing of its work is left with it; one that died has nothing left."""
        for slot in [slot for slot in self._slots if slot.retiring]:
            assert slot.replica is not None
            try:
                done = ray.get(slot.replica.retire.remote(), timeout=RETIRE_CALL_S)
            except ray.exceptions.RayActorError:
                done = True
            except ray.exceptions.GetTimeoutError:
                done = False
            if done:
                self._end(slot)

    def _end(self, slot: _Slot) -> None:
        if slot.replica is not None:
            ray.kill(slot.replica, no_restart=True)
        slot.replica, slot.retiring = None, False

    def _of(self, teacher: int) -> list[_Slot]:
        return [slot for slot in self._slots if slot.teacher == teacher]
