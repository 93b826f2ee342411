"""The curator with its surroundings: journal of events, graph file, metrics, restoring a run folder.

Still a plain class: the actor and `local.py` both drive it.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dsa_ray.config import Config
from dsa_ray.curriculum.curator import Curator
from dsa_ray.curriculum.metrics import StepMetrics
from dsa_ray.curriculum.supply import Supply
from dsa_ray.records import LadderLease, RowPlan, Scope, SkillGraph
from dsa_ray.skills.graph import to_node_link
from dsa_ray.skills.start import GRAPH, kept_start
from dsa_ray.storage.checkpoints import CheckpointStore
from dsa_ray.storage.edits import new_edits
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.state import unpack_state
from dsa_ray.storage.texts import STREAM, numbers

EVENTS = "events"
CURATOR_STATE = "curator.npz"
"""Name of the curator's part of a checkpoint."""
T = TypeVar("T")


class CuratorHost:
    """Owns one `Curator` and what it leaves behind.

    Args:
        config: the run's configuration.
        run: path of the run folder.
        clock: seconds, monotonic.
        scope: how far it goes; short of training, generation ends with what was ordered first.
    """

    def __init__(
        self,
        config: Config,
        run: str,
        clock: Callable[[], float] = time.monotonic,
        scope: Scope = Scope.TRAINING,
    ) -> None:
        self._config = config
        self._run = RunFolder.open(run)
        self._clock = clock
        self._events: list[dict[str, Any]] = []
        self._writer = SegmentWriter(self._run.journal, EVENTS)
        self._metrics = StepMetrics(config.train.ranks)
        self._graph_written: SkillGraph | None = None
        self._wind_down = False
        self._wanted: int | None = None
        self._snapshot: dict[str, Any] | None = None
        self._readers: Counter[int] = Counter()
        self._leased: dict[int, tuple[tuple[int, int, int], list[RowPlan] | None]] = {}
        """Of each rank the last lease: which call it was, and its answer."""
        self._drained: tuple[int | None, list[dict[str, Any]]] = None, []
        self._anew = self._begun = False
        self.failure: str | None = None
        self.checkpoints: list[dict[str, Any]] = []
        """What `saved` was told."""
        self.published: dict[str, Any] | None = None
        """The newest snapshot of the student."""
        supply = Supply(config, self._emit, kept_start(config.graph, self._run), scope)
        self.curator = Curator(config, self._emit, clock, supply)

    def restore(self, anew: bool = False) -> None:
        """Rebuild from the run's journal. Accepted items are never lost and never written again.

        Args:
            anew: an earlier curator of this very job has ended. Training is as the latest checkpoint says until the
                trainer begins its next attempt, whose number no earlier one had.
        """
        attempts = [0]
        events = self._noting_attempts(attempts)
        written = (
            (segment, numbers(row, index))
            for segment, rows in iter_segments(self._run.journal, STREAM)
            for index, row in enumerate(rows)
        )
        self.curator.restore_supply(events, written)
        self._anew = anew
        if anew:
            self.curator.ledger.attempt = max(attempts)

    def _noting_attempts(self, attempts: list[int]) -> Iterator[dict[str, Any]]:
        """The events, and the numbers of the attempts among them."""
        for _, rows in iter_segments(self._run.journal, EVENTS):
            attempts.extend(row["attempt"] for row in rows if row["event"] == "attempt")
            yield from rows

    def start(self) -> None:
        """Order what is missing."""
        self.curator.start()
        self._write_graph()
        if self._anew:
            self._return_to_latest()

    @property
    def generation_over(self) -> bool:
        return self._wind_down or self.curator.generation_over or self.failure is not None

    def wind_down(self) -> None:
        """No more requests are given out: the run is being stopped."""
        self._wind_down = True

    def accept(self, segment: int, rows: Sequence[Mapping[str, Any]]) -> None:
        self.curator.accept(segment, rows)
        self._write_graph()

    def ladder_over(self, exercise: int, counts: Mapping[str, int]) -> None:
        """A ladder is over; see `LadderBook.finish`."""
        self.curator.supply.ladders.finish(exercise, counts)

    def lease_ladders(self, climbing: Sequence[int], n: int) -> list[LadderLease] | None:
        """See `Curator.lease_ladders`; None when nothing more will be trained on."""
        return None if self.generation_over else self.curator.lease_ladders(climbing, n)

    def poll_edits(self) -> list[tuple[str, Any]]:
        """Edits handed in since they were last taken; reads the run's folder."""
        return new_edits(self._run.path, self.curator.supply.edits)

    def take_edits(self, found: Sequence[tuple[str, Any]]) -> None:
        """Let the curator have what `poll_edits` found."""
        for name, row in found:
            self.curator.edit(name, row)
        self._write_graph()

    def open_rows(self, rank: int) -> tuple[int, int]:
        """A reader of a rank's rows begins: the attempt that it reads for, and its number. Earlier readers are over."""
        self._readers[rank] += 1
        return self.curator.ledger.attempt, self._readers[rank]

    def lease_rows(self, rank: int, attempt: int, n: int, reader: int, call: int) -> list[RowPlan] | None:
        """See `Curator.lease_rows`; None also for a reader that another one has followed.

        Args:
            call: number of the reader's call. One that is made again, because its answer was lost, gets the same.
        """
        if reader != self._readers[rank]:
            return None
        this = attempt, reader, call
        if rank not in self._leased or self._leased[rank][0] != this:
            self._leased[rank] = this, self.curator.lease_rows(rank, attempt, n)
        return self._leased[rank][1]

    def observe(self, report: Mapping[str, Any], ids: np.ndarray, losses: np.ndarray) -> bool:
        """A rank's report of a step: `rank attempt step leases` and what `StepMetrics` reads."""
        counted = self.curator.observe(
            report["rank"], report["attempt"], report["step"], list(report["leases"]), ids, losses
        )
        if counted:
            self._metrics.add(report, self._gauges)
            self._take_snapshot()
        return counted

    def guard(self, call: Callable[..., T], *args: Any) -> T | None:
        """Run a method; an exception is a broken contract: it is kept as the run's failure, which ends the run."""
        try:
            return call(*args)
        except Exception as error:
            self.failure = self.failure or f"the curator failed: {type(error).__name__}: {error}"
            raise

    def begin_attempt(self, state: bytes | None, ranks: int | None = None) -> int:
        """A trainer with so many ranks (None: the configured ones) starts from a checkpoint's state, or from the base
        model (None)."""
        self._return_to(state, ranks or self._config.train.ranks)
        attempt = self.curator.begin_attempt()
        self._begun = True
        self._emit({"event": "attempt", "attempt": attempt, "step": self.curator.ledger.closed_step})
        self.curator.tell_open()
        return attempt

    def training_over(self) -> None:
        """The trainer is through, and its last checkpoint is the latest. A curator that was started anew when the ranks
        had nothing to tell any more began with an earlier one."""
        if self._anew and not self._begun:
            self._return_to_latest()

    def _return_to_latest(self) -> None:
        store = CheckpointStore(self._run.checkpoints)
        if (latest := store.latest()) is not None:
            self._return_to(store.read(latest, CURATOR_STATE), store.meta(latest)["ranks"])

    def _return_to(self, state: bytes | None, ranks: int) -> None:
        self.curator.resize(ranks)
        training = unpack_state(state) if state else None
        self._metrics.begin_attempt(ranks, training and training.get("metrics"))
        if training or self.curator.ledger.attempt:
            self.curator.restore_training(training)
        else:
            self.curator.plant_known()
        self._wanted = self._snapshot = None

    def require_attempt(self) -> None:
        """
        Raises:
            RuntimeError: the caller belongs to an attempt that an earlier curator opened.
        """
        if self._anew and not self._begun:
            raise RuntimeError("the curator was started anew: the trainer has to begin again from its last checkpoint")

    def want_snapshot(self, step: int) -> None:
        """Keep the training state at the end of `step`, as soon as every rank has reported it.

        Raises:
            RuntimeError: a later step is closed already.
        """
        closed = self.curator.ledger.closed_step
        if closed > step:
            raise RuntimeError(f"checkpoint at step {step}: the curator has closed step {closed}")
        self._wanted, self._snapshot = step, None
        self._take_snapshot()

    def snapshot(self, step: int) -> dict[str, Any] | None:
        """What `want_snapshot` asked for; None while the step is not closed.

        Raises:
            RuntimeError: nobody wants this step any more, for the trainer began again.
        """
        if self._wanted != step:
            raise RuntimeError(f"checkpoint at step {step}: the trainer began again meanwhile")
        return self._snapshot

    def saved(self, facts: Mapping[str, Any]) -> None:
        """A checkpoint is complete: `step`, `blocked_s` of training, `staging` (why not in memory, or nothing)."""
        self.checkpoints.append(dict(facts))
        self._metrics.spend("checkpoint", facts["blocked_s"])

    def was_published(self, snapshot: Mapping[str, Any]) -> None:
        """A snapshot of the student can be loaded: `version`, `step`, `path`, `blocked_s` of training.

        Told again, because the answer was lost, it changes nothing.
        """
        if self.published != snapshot:
            self.published = dict(snapshot)
            self._metrics.spend("publish", snapshot["blocked_s"])

    def was_taken_up(self, seconds: float) -> None:
        """The student's replica stood still for so long while it loaded a snapshot."""
        self._metrics.spend("take_up", seconds)

    def fail(self, reason: str) -> None:
        """A part of the ring cannot go on: the run ends with this line."""
        self.failure = self.failure or reason

    def _take_snapshot(self) -> None:
        # One report closes at most one step, so the wanted one is never passed over.
        if self._wanted == self.curator.ledger.closed_step and self._snapshot is None:
            self._snapshot = {**self.curator.training_state(), "metrics": self._metrics.state_dict()}

    def status(self) -> dict[str, Any]:
        """One flat view for the live display, `dsa status` and the watchdog."""
        last = self.checkpoints[-1] if self.checkpoints else None
        own = {"failure": self.failure, "checkpoint": last, "published": self.published}
        return {**self.curator.status(), **self._metrics.status(), **own}

    def drain_metrics(self, call: int | None = None) -> list[dict[str, Any]]:
        """The lines of metrics since the last call. One of the same number, whose answer was lost, gets them again."""
        if call is None or call != self._drained[0]:
            self._drained = call, self._metrics.drain()
        return self._drained[1]

    def facts(self) -> dict[str, Any]:
        """Everything that summary, tables and report need; the last steps get their line of metrics."""
        self._metrics.close(self._gauges)
        totals = {"metrics": self._metrics.totals(), "checkpoints": list(self.checkpoints)}
        return {**self.curator.facts(), **totals, "status": self.status()}

    def take_events(self) -> list[dict[str, Any]]:
        """The events since the last call, in order; to be handed to `write_events`."""
        events, self._events = self._events, []
        return events

    def write_events(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Group commit."""
        if events:
            self._writer.write(events)

    def _emit(self, event: dict[str, Any]) -> None:
        self._events.append({**event, "at": round(time.time(), 3)})

    def _gauges(self) -> dict[str, Any]:
        status = self.curator.status()
        keys = ("queue_depth", "outstanding", "written", "rejected", "unvisited", "open_rows")
        return {key: status[key] for key in keys}

    def _write_graph(self) -> None:
        graph = self.curator.supply.graph
        if graph is not None and graph is not self._graph_written:
            self._run.write_text(GRAPH, json.dumps(to_node_link(graph), indent=1))
            self._graph_written = graph
