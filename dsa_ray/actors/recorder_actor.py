"""The Ray shell of the recorder: it opens the generation stream and commits what comes out."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from dsa_ray.actors.recorder import Recorder
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.texts import STREAM
from dsa_ray.streams.batches import Examines
from dsa_ray.streams.generation import StreamPlan, build_generation_stream, outcomes

CALL_S = 30.0
"""Deadline of one call to the curator; it is called again until `stall_s`."""


@ray.remote
class RecorderActor:
    """Opens the generation stream, records it, and opens it again until generation is over.

    Use with `max_concurrency` of at least 2, so that `stats` answers while `run` runs.

    Args:
        journal: folder or URI of the run's journal.
        curator: name of the actor with `accept`, `reject` and `generation_over`.
        replicas: names of the `ReplicaActor`s.
        examiner: makes an examiner that knows the given content hashes; runs in the examiner's own actor.
        plan: shares and bounds of the stream.
        stall_s: how long the curator may be away.
    """

    def __init__(
        self,
        journal: str,
        curator: str,
        replicas: Sequence[str],
        examiner: Callable[[frozenset[int]], Examines],
        plan: StreamPlan,
        stall_s: float,
    ) -> None:
        self._curator, self._replicas = ray.get_actor(curator), [ray.get_actor(name) for name in replicas]
        self._examiner, self._plan, self._stall_s = examiner, plan, stall_s
        self._recorder = Recorder(
            SegmentWriter(journal, STREAM),
            accept=lambda segment, rows: self._tell("accept", segment, rows),
            reject=lambda rows: self._tell("reject", rows),
        )
        for _, rows in iter_segments(journal, STREAM):
            self._recorder.remember(rows)

    def run(self) -> None:
        """Returns when the curator says that generation is over. Raises what broke the stream."""
        while not self._tell("generation_over"):
            examiner = functools.partial(self._examiner, frozenset(self._recorder.hashes))
            plan = dataclasses.replace(self._plan, opened=time.time_ns())
            self._recorder.run(outcomes(build_generation_stream(self._replicas, self._curator, examiner, plan)))

    def stats(self) -> dict[str, int]:
        return self._recorder.stats()

    def _tell(self, method: str, *arguments: Any) -> Any:
        """Call the curator until it answers: it restarts on its own, and every method is idempotent."""
        began = time.monotonic()
        while True:
            try:
                return ray.get(getattr(self._curator, method).remote(*arguments), timeout=CALL_S)
            except (RayActorError, GetTimeoutError):
                if time.monotonic() - began > self._stall_s:
                    raise
                time.sleep(0.2)
