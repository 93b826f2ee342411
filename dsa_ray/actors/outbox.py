"""What a replica has finished and the recorder has not confirmed: nothing is lost when a reply or a reader is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from dsa_ray.records import Completion
from dsa_ray.streams.batches import Batch, StaleReader

LINGER_S = 0.05
"""How long a batch waits for company: one block per row would cost more in the stream than all the checks."""


class Outbox:
    """Hands out batches in order and keeps each until it is confirmed; a new reader gets the kept ones again."""

    def __init__(self, incarnation: int, linger_s: float = LINGER_S) -> None:
        self._prefix = f"{incarnation:x}"
        self._linger_s = linger_s
        self._waiting: deque[Completion] = deque()
        self._kept: dict[str, Batch] = {}
        self._again: deque[str] = deque()
        self._last = ""
        self._number = 0
        self._reader = 0
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        """Completions that are not confirmed."""
        return len(self._waiting) + sum(len(batch.completions) for batch in self._kept.values())

    def put(self, completion: Completion) -> None:
        self._waiting.append(completion)
        self._filled.set()

    def wake(self) -> None:
        """Let a waiting reader return at once, with what there is."""
        self._filled.set()

    def confirm(self, tokens: Iterable[str]) -> None:
        """These batches are durable. Tokens of an earlier incarnation, or confirmed before, mean nothing."""
        for token in tokens:
            self._kept.pop(token, None)

    async def take(self, max_rows: int, wait_s: float, seen: str = "", reader: int = 0) -> Batch:
        """The next batch; empty after `wait_s` without any.

        Args:
            max_rows: at most so many.
            wait_s: how long to wait for the first completion.
            seen: token of the last batch that this reader got; if it is not the last one sent, the reply was lost.
            reader: number of the reading stream, growing. The first call of a new reader starts anew with whatever
                is not confirmed.

        Raises:
            StaleReader: a newer reader has called before.
        """
        self._admit(reader)
        if self._last and self._last != seen and self._last in self._kept:
            return self._kept[self._last]
        if not self._again and not self._waiting:
            await self._wait(wait_s)
        if reader < self._reader:
            raise StaleReader(f"reader {reader} was followed by reader {self._reader}")
        batch = self._next(max_rows)
        self._last = batch.token
        return batch

    def _admit(self, reader: int) -> None:
        if reader < self._reader:
            raise StaleReader(f"reader {reader} was followed by reader {self._reader}")
        if reader > self._reader:
            self._reader, self._last = reader, ""
            self._again = deque(self._kept)

    async def _wait(self, wait_s: float) -> None:
        self._filled.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._filled.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._linger_s)

    def _next(self, max_rows: int) -> Batch:
        while self._again:
            token = self._again.popleft()
            if token in self._kept:
                return self._kept[token]
        if not self._waiting:
            return Batch(token=self._last, completions=())
        self._number += 1
        rows = tuple(self._waiting.popleft() for _ in range(min(max_rows, len(self._waiting))))
        batch = Batch(token=f"{self._prefix}:{self._number}", completions=rows)
        self._kept[batch.token] = batch
        return batch
