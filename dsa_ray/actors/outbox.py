"""What a replica has finished and nobody has acknowledged: nothing is lost when a reply or a reader is."""

from __future__ import annotations

import asyncio
from collections import deque

from dsa_ray.records import Completion
from dsa_ray.streams.batches import Batch, StaleReader

LINGER_S = 0.02
"""How long a batch waits for company: one block per row would cost more in the stream than all the checks."""


class Outbox:
    """Hands out one batch at a time, again and again until it is acknowledged."""

    def __init__(self, incarnation: int, linger_s: float = LINGER_S) -> None:
        self._prefix = f"{incarnation:x}"
        self._linger_s = linger_s
        self._waiting: deque[Completion] = deque()
        self._held: Batch | None = None
        self._number = 0
        self._reader = 0
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        """Completions that are not acknowledged."""
        return len(self._waiting) + (len(self._held.completions) if self._held else 0)

    def put(self, completion: Completion) -> None:
        self._waiting.append(completion)
        self._filled.set()

    def wake(self) -> None:
        """Let a waiting reader return at once, with what there is."""
        self._filled.set()

    async def take(self, max_rows: int, wait_s: float, ack: str = "", reader: int = 0) -> Batch:
        """The next batch; empty after `wait_s` without any.

        Args:
            max_rows: at most so many; 0 acknowledges only.
            wait_s: how long to wait for the first completion.
            ack: token of the batch that is safe now; a batch not acknowledged is delivered again.
            reader: number of the reading stream, growing; readers older than the newest are refused.

        Raises:
            StaleReader: a newer reader has called before.
        """
        if reader < self._reader:
            raise StaleReader(f"reader {reader} was followed by reader {self._reader}")
        self._reader = reader
        if self._held is not None and ack == self._held.token:
            self._held = None
        if self._held is not None:
            return self._held
        if max_rows and not self._waiting:
            await self._wait(wait_s)
        if self._held is not None:  # the same reader called again after a lost reply
            return self._held
        if not max_rows or not self._waiting or reader < self._reader:
            return Batch(token=ack, completions=())
        return self._form(max_rows)

    async def _wait(self, wait_s: float) -> None:
        self._filled.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._filled.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._linger_s)

    def _form(self, max_rows: int) -> Batch:
        self._number += 1
        rows = tuple(self._waiting.popleft() for _ in range(min(max_rows, len(self._waiting))))
        self._held = Batch(token=f"{self._prefix}:{self._number}", completions=rows)
        return self._held
