"""The Ray shell of the recorder: it opens the generation stream and commits what comes out."""

from __future__ import annotations

import dataclasses
import functools
import logging
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from dsa_ray.actors import patient
from dsa_ray.actors.recorder import Recorder
from dsa_ray.actors.whereabouts import note_process
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.pages import distinct, give_back, keep_little
from dsa_ray.storage.texts import STREAM
from dsa_ray.streams.batches import Examined, Examines
from dsa_ray.streams.generation import StreamPlan, build_generation_stream, examined, handle_of, opening_s

logger = logging.getLogger(__name__)

OPENINGS = "openings"
"""The journal's stream with one segment for each opening of the generation stream."""
REPLY_S = 60.0
"""The recorder answers an examiner within this, or it is gone."""
CRASHES = 3
"""So many crashes of the stream in a row, with nothing written between them, end the run."""


class GenerationFault(Exception):
    """What ended the generation stream for good."""


# As the curator's calls.
@ray.remote(enable_task_events=False)
class RecorderActor:
    """Opens the generation stream, records it, and opens it again until generation is over.

    Use with `max_concurrency` of at least 4, so that `known`, `stats` and `take` answer while `run` runs. All may be
    called again after a restart: what the journal holds is known, and what a replica was not confirmed comes once more.

    Args:
        journal: folder or URI of the run's journal.
        curator: name of the actor with `accept`, `reject` and `generation_over`.
        replicas: names of the `ReplicaActor`s.
        examiner: makes an examiner that knows the given content hashes (int64, rising); runs in the examiner's own
            actor.
        plan: shares and bounds of the stream.
        stall_s: how long the curator may be away.
    """

    def __init__(
        self,
        journal: str,
        curator: str,
        replicas: Sequence[str],
        examiner: Callable[[np.ndarray], Examines],
        plan: StreamPlan,
        stall_s: float,
    ) -> None:
        note_process("recorder")
        keep_little()
        self._curator = ray.get_actor(curator)
        self._replicas = list(replicas) if plan.elastic else [ray.get_actor(name) for name in replicas]
        self._examiner, self._plan, self._stall_s = examiner, plan, stall_s
        self._openings = SegmentWriter(journal, OPENINGS)
        self._last = 0, 0.0
        """Batches of the last opening of this process, and seconds that it lasted."""
        self._known = ray.put(distinct())
        """Hashes of all that was written when the stream was last opened, in shared memory: once for this process and
        all examiners."""
        self._fresh = array("q")
        """Hashes on their way there."""
        self._recorder = Recorder(
            SegmentWriter(journal, STREAM),
            accept=lambda segment, rows: self._tell("accept", segment, rows),
            reject=lambda rows: self._tell("reject", rows),
            confirm=self._confirm,
        )
        for _, rows in iter_segments(journal, STREAM):
            self._recorder.remember(rows)

    def run(self) -> None:
        """Returns when the curator says that generation is over.

        Raises:
            GenerationFault: a replica, the examiner or the journal failed for good; one line.
        """
        crashes, written = 0, 0
        while not self._tell("generation_over"):
            try:
                self._recorder.run(self._open())
                give_back()
            except RayTaskError as error:
                raise GenerationFault(_one_line(error.cause)) from error
            except RayError as error:  # a worker or its node died: what was not confirmed is read again
                done = self._recorder.stats()["written"]
                crashes, written = (crashes + 1 if done == written else 1), done
                if crashes > CRASHES:
                    raise GenerationFault(f"the stream broke {crashes} times in a row: {_one_line(error)}") from error
                logger.warning("the generation stream is opened anew: %s", _one_line(error))

    def _open(self) -> Iterator[Examined]:
        self._fresh.extend(self._recorder.take_hashes())
        known = ray.get(self._known, timeout=REPLY_S)
        self._known, self._fresh = ray.put(distinct(known, np.array(self._fresh, np.int64))), array("q")
        examiner = functools.partial(_knowing, ray.get_runtime_context().current_actor, self._examiner)
        # Replicas serve the newest reader alone. Counted on disk: a clock that was set back, or another machine's,
        # would make the readers of a recorder that was started anew look older than those of its predecessor.
        opened = 1 + self._openings.write([{"at": round(time.time(), 3)}])
        plan = dataclasses.replace(self._plan, opened=opened, reopen_s=opening_s(self._plan, *self._last))
        return self._counted(examined(build_generation_stream(self._replicas, self._curator, examiner, plan)))

    def _counted(self, batches: Iterator[Examined]) -> Iterator[Examined]:
        count, began = 0, time.monotonic()
        try:
            for batch in batches:
                count += 1
                yield batch
        finally:
            self._last = count, time.monotonic() - began

    def known(self) -> list[ray.ObjectRef]:
        """Where the content hashes lie that an examiner has to know (int64, rising)."""
        return [self._known]

    def take(self, rows: Sequence[str]) -> None:
        """Written rows (JSON) from elsewhere, as `Recorder.take`: durable, and known to the curator, on return."""
        self._recorder.take(rows)

    def stats(self) -> dict[str, int]:
        return self._recorder.stats()

    def _confirm(self, batches: Sequence[Examined]) -> None:
        """Not waited for, and sent again by Ray when it is lost: until then a replica holds the room of the batch. One
        that never comes, because the replica or this process ended, costs a second delivery, which is dropped here."""
        tokens: dict[int, list[str]] = {}
        for batch in batches:
            tokens.setdefault(batch.replica, []).append(batch.token)
        for index, confirmed in tokens.items():
            if (replica := handle_of(self._replicas[index])) is not None:
                replica.confirm.options(max_task_retries=-1).remote(confirmed)

    def _tell(self, method: str, *arguments: Any) -> Any:
        """Call the curator until it answers, while it lives: every method is idempotent."""
        try:
            return patient.call(self._curator, method, *arguments, within_s=self._stall_s)
        except ActorDiedError as error:
            raise GenerationFault("the curator died") from error
        except patient.ActorAway as error:
            raise GenerationFault(f"the curator was away for {self._stall_s:g} s (watch.stall_s)") from error


def _knowing(recorder: ActorHandle, examiner: Callable[[np.ndarray], Examines]) -> Examines:
    """In the examiner's actor. Passed along with the stream the hashes would lie in every process that it goes through,
    in some of them twice."""
    (known,) = ray.get(recorder.known.remote(), timeout=REPLY_S)
    return examiner(ray.get(known, timeout=REPLY_S))


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:500]
