"""The curator with its surroundings: journal of events, graph file, metrics, restoring a run folder.

Still a plain class: the actor and `local.py` both drive it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dsa_ray.config import Config
from dsa_ray.curriculum.curator import Curator
from dsa_ray.curriculum.metrics import StepMetrics
from dsa_ray.skills.graph import to_node_link
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.state import unpack_state
from dsa_ray.storage.texts import STREAM, numbers, written_from_row

EVENTS = "events"
GRAPH = "graph.json"
CURATOR_STATE = "curator.npz"
"""Name of the curator's part of a checkpoint."""
T = TypeVar("T")


class CuratorHost:
    """Owns one `Curator` and what it leaves behind.

    Args:
        config: the run's configuration.
        run: path of the run folder.
        clock: seconds, monotonic.
        trains: see `Curator`.
    """

    def __init__(
        self, config: Config, run: str, clock: Callable[[], float] = time.monotonic, trains: bool = True
    ) -> None:
        self._config = config
        self._run = RunFolder.open(run)
        self._clock = clock
        self._events: list[dict[str, Any]] = []
        self._writer = SegmentWriter(self._run.journal, EVENTS)
        self._metrics = StepMetrics(config.train.ranks)
        self._graph_written = False
        self._wind_down = False
        self.failure: str | None = None
        self.curator = Curator(config, self._emit, clock, trains)

    def restore(self) -> None:
        """Rebuild from the run's journal. Accepted items are never lost and never written again."""
        events = (row for _, rows in iter_segments(self._run.journal, EVENTS) for row in rows)
        written = (
            (segment, numbers(written_from_row(row), index))
            for segment, rows in iter_segments(self._run.journal, STREAM)
            for index, row in enumerate(rows)
        )
        self.curator.restore_supply(events, written)

    def start(self) -> None:
        """Order what is missing."""
        self.curator.start()
        self._write_graph()

    @property
    def generation_over(self) -> bool:
        return self._wind_down or self.curator.generation_over or self.failure is not None

    def wind_down(self) -> None:
        """No more requests are given out: the run is being stopped."""
        self._wind_down = True

    def accept(self, segment: int, rows: Sequence[Mapping[str, Any]]) -> None:
        self.curator.accept(segment, rows)
        self._write_graph()

    def observe(self, report: Mapping[str, Any], ids: np.ndarray, losses: np.ndarray) -> bool:
        """A rank's report of a step: `rank attempt step leases` and what `StepMetrics` reads."""
        counted = self.curator.observe(
            report["rank"], report["attempt"], report["step"], list(report["leases"]), ids, losses
        )
        if counted:
            self._metrics.add(report, self._gauges)
        return counted

    def guard(self, call: Callable[..., T], *args: Any) -> T | None:
        """Run a method; an exception is a broken contract: it is kept as the run's failure, which ends the run."""
        try:
            return call(*args)
        except Exception as error:
            self.failure = self.failure or f"{type(error).__name__}: {error}"
            raise

    def begin_attempt(self, state: bytes | None) -> int:
        """A trainer starts from a checkpoint's state, or from the base model (None)."""
        if state is not None or self.curator.ledger.attempt:
            self.curator.restore_training(unpack_state(state) if state else None)
        attempt = self.curator.begin_attempt()
        self._emit({"event": "attempt", "attempt": attempt, "step": self.curator.ledger.closed_step})
        return attempt

    def snapshot(self, step: int) -> dict[str, Any]:
        """The training state at the end of `step`, which must be the newest closed one (`RuntimeError` if not)."""
        closed = self.curator.ledger.closed_step
        if closed != step:
            raise RuntimeError(f"checkpoint at step {step}: the curator has closed step {closed}")
        return self.curator.training_state()

    def status(self) -> dict[str, Any]:
        """One flat view for the live display, `dsa status` and the watchdog."""
        return {**self.curator.status(), **self._metrics.status(), "failure": self.failure}

    def drain_metrics(self) -> list[dict[str, Any]]:
        return self._metrics.drain()

    def facts(self) -> dict[str, Any]:
        """Everything that summary, tables and report need."""
        return {**self.curator.facts(), "metrics": self._metrics.totals(), "status": self.status()}

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
        if graph is not None and not self._graph_written:
            self._run.write_text(GRAPH, json.dumps(to_node_link(graph), indent=1))
            self._graph_written = True
