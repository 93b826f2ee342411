"""The curator as a Ray actor: one event loop, one state, every method idempotent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray

from dsa_ray.config import parse
from dsa_ray.curriculum.host import CuratorHost
from dsa_ray.records import Assignment, RowPlan
from dsa_ray.storage.state import pack_state

FLUSH_S = 0.5
"""Events are group-committed this often; accepted items were durable before they came here."""


@ray.remote
class CuratorActor:
    """Thin shell of `CuratorHost`.

    Args:
        config: the resolved configuration, plain.
        run: path of the run folder.
        trains: False where nothing is trained.
    """

    def __init__(self, config: dict[str, Any], run: str, trains: bool = True) -> None:
        self._host = CuratorHost(parse(config), run, trains=trains)
        self._flusher: asyncio.Task[None] | None = None
        self._journal = asyncio.Lock()

    async def start(self) -> dict[str, Any]:
        """Restore what the run folder holds, order what is missing, begin to journal. Returns the status."""
        if self._flusher is None:
            self._host.restore()
            self._host.start()
            self._flusher = asyncio.create_task(self._flush_forever())
        return self._host.status()

    async def lease_requests(self, replica: str, incarnation: str, n: int) -> list[Assignment]:
        return self._host.guard(self._host.curator.lease_requests, replica, incarnation, n) or []

    async def accept(self, segment: int, rows: Sequence[Mapping[str, Any]]) -> None:
        self._host.guard(self._host.accept, segment, rows)

    async def reject(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._host.guard(self._host.curator.reject, rows)

    async def generation_over(self) -> bool:
        return self._host.generation_over

    async def begin_attempt(self, state: bytes | None) -> int:
        """A trainer starts from a checkpoint's state (None: from the base model). Returns the attempt's number."""
        return self._host.begin_attempt(state)

    async def current_attempt(self) -> int:
        return self._host.curator.ledger.attempt

    async def lease_rows(self, rank: int, attempt: int, n: int) -> list[RowPlan] | None:
        return self._host.guard(self._host.curator.lease_rows, rank, attempt, n)

    async def observe(self, report: Mapping[str, Any], ids: np.ndarray, losses: np.ndarray) -> bool:
        return bool(self._host.guard(self._host.observe, report, ids, losses))

    async def checkpoint(self, step: int) -> bytes:
        """The state at the end of `step`, whose every row has been observed."""
        await self._flush()
        return await asyncio.to_thread(pack_state, self._host.snapshot(step))

    async def wind_down(self) -> None:
        """Give out no more requests: the run is being stopped."""
        self._host.wind_down()

    async def status(self) -> dict[str, Any]:
        return self._host.status()

    async def drain_metrics(self) -> list[dict[str, Any]]:
        return self._host.drain_metrics()

    async def facts(self) -> dict[str, Any]:
        """Everything that summary, tables and report need, once the run is over."""
        await self._flush()
        return self._host.facts()

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        async with self._journal:
            events = self._host.take_events()
            await asyncio.to_thread(self._host.write_events, events)
