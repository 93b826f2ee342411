"""The curator as a Ray actor: one event loop, one state, every method idempotent.

When its process ends Ray starts another, which takes up what the run folder holds: the journal's items and requests,
and of training what the latest checkpoint says. The ranks notice at their next call, which fails, and begin a new
attempt from that checkpoint; replicas and recorder go on where they are. So that no id is given out twice, a request is
leased only when the event that minted it is durable.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray

from dsa_ray.actors.whereabouts import note_process
from dsa_ray.config import parse
from dsa_ray.curriculum.host import CuratorHost
from dsa_ray.records import Assignment, LadderLease, RowPlan, Scope
from dsa_ray.sections import LADDER_IDS
from dsa_ray.storage.pages import keep_little
from dsa_ray.storage.state import pack_state

FLUSH_S = 0.5
"""Events are group-committed this often; accepted items were durable before they came here."""
SNAPSHOT_POLL_S = 0.01
EDITS_EVERY = 4
"""Flushes between two looks for edits of the graph."""


# Hundreds of calls a second, some of tens of KB: as task events all would go to Ray's control process with arguments.
@ray.remote(enable_task_events=False)
class CuratorActor:
    """Thin shell of `CuratorHost`.

    Args:
        config: the resolved configuration, plain.
        run: path of the run folder.
        scope: how far it goes.
    """

    def __init__(self, config: dict[str, Any], run: str, scope: Scope = Scope.TRAINING) -> None:
        note_process("curator")
        keep_little()
        self._host = CuratorHost(parse(config), run, scope=scope)
        self._flusher: asyncio.Task[None] | None = None
        self._journal = asyncio.Lock()
        self._durable_ids = 0
        if ray.get_runtime_context().was_current_actor_reconstructed:
            self._begin(anew=True)

    async def start(self) -> dict[str, Any]:
        """Restore what the run folder holds, order what is missing, begin to journal. Returns the status."""
        if self._flusher is None:
            self._begin(anew=False)
        return self._host.status()

    def _begin(self, anew: bool) -> None:
        self._host.restore(anew)
        self._host.start()
        self._flusher = asyncio.create_task(self._flush_forever())

    async def lease_requests(self, replica: str, incarnation: str, n: int) -> list[Assignment]:
        leased = self._host.guard(self._host.curator.lease_requests, replica, incarnation, n) or []
        if any(assignment.request.id >= self._durable_ids for assignment in leased):
            await self._flush()
        return leased

    async def accept(self, segment: int, rows: Sequence[Mapping[str, Any]]) -> None:
        self._host.guard(self._host.accept, segment, rows)

    async def reject(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._host.guard(self._host.curator.reject, rows)

    async def lease_ladders(self, climbing: Sequence[int], n: int) -> list[LadderLease] | None:
        """Ladders to climb beside those; see `Curator.lease_ladders`. Their ids are durable."""
        leased = self._host.guard(self._host.lease_ladders, climbing, n)
        if any(ladder.first + LADDER_IDS > self._durable_ids for ladder in leased or ()):
            await self._flush()
        return leased

    async def ladder_over(self, exercise: int, counts: Mapping[str, int]) -> None:
        """What a ladder taught is durable."""
        self._host.guard(self._host.ladder_over, exercise, counts)

    async def generation_over(self) -> bool:
        return self._host.generation_over

    async def begin_attempt(self, state: bytes | None, ranks: int | None = None) -> int:
        """A trainer with so many ranks starts from a checkpoint's state; see `CuratorHost.begin_attempt`."""
        attempt = self._host.begin_attempt(state, ranks)
        await self._flush()  # its number is not given again
        return attempt

    async def open_rows(self, rank: int) -> tuple[int, int]:
        """A reader begins; see `CuratorHost.open_rows`."""
        self._host.require_attempt()
        return self._host.open_rows(rank)

    async def lease_rows(self, rank: int, attempt: int, n: int, reader: int, call: int) -> list[RowPlan] | None:
        self._host.require_attempt()
        return self._host.guard(self._host.lease_rows, rank, attempt, n, reader, call)

    async def observe(self, report: Mapping[str, Any], ids: np.ndarray, losses: np.ndarray) -> bool:
        self._host.require_attempt()
        return bool(self._host.guard(self._host.observe, report, ids, losses))

    async def want_checkpoint(self, step: int) -> None:
        """Keep the state at the end of `step` for `checkpoint`; training may go on as soon as this returns."""
        self._host.require_attempt()
        self._host.want_snapshot(step)

    async def checkpoint(self, step: int) -> bytes:
        """The state at the end of `step`, once every rank has reported it; the journal is durable as far as that."""
        while (state := self._host.snapshot(step)) is None:
            await asyncio.sleep(SNAPSHOT_POLL_S)
        await self._flush()
        return await asyncio.to_thread(pack_state, state)

    async def saved(self, facts: Mapping[str, Any]) -> None:
        """A checkpoint is complete; see `CuratorHost.saved`."""
        self._host.saved(facts)

    async def was_published(self, snapshot: Mapping[str, Any]) -> None:
        """A snapshot of the student can be loaded; see `CuratorHost.was_published`."""
        self._host.was_published(snapshot)

    async def was_taken_up(self, seconds: float) -> None:
        """The student's replica stood still for so long."""
        self._host.was_taken_up(seconds)

    async def fail(self, reason: str) -> None:
        """The trainer cannot go on: the run ends with this line."""
        self._host.fail(reason)

    async def training_over(self) -> None:
        """The trainer is through; see `CuratorHost.training_over`."""
        self._host.training_over()

    async def wind_down(self) -> None:
        """Give out no more requests: the run is being stopped."""
        self._host.wind_down()

    async def status(self) -> dict[str, Any]:
        """The host's status, and the process that gives it: another one when the curator was started anew."""
        return {**self._host.status(), "incarnation": os.getpid()}

    async def drain_metrics(self, call: int) -> list[dict[str, Any]]:
        return self._host.drain_metrics(call)

    async def facts(self) -> dict[str, Any]:
        """Everything that summary, tables and report need, once the run is over."""
        await self._flush()
        return self._host.facts()

    async def _flush_forever(self) -> None:
        for turn in itertools.count():
            await asyncio.sleep(FLUSH_S)
            if turn % EDITS_EVERY == 0 and (found := await asyncio.to_thread(self._host.poll_edits)):
                self._host.guard(self._host.take_edits, found)
            await self._flush()

    async def _flush(self) -> None:
        async with self._journal:
            events, ids = self._host.take_events(), self._host.curator.supply.book.next_id
            try:
                await asyncio.to_thread(self._host.write_events, events)
            except OSError as error:
                self._host.fail(
                    f"the journal cannot be written: {error.strerror or error} ({error.filename or 'disk'})"
                )
                raise
            self._durable_ids = ids
