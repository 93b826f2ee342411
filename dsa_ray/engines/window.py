"""How many requests an endpoint of unknown capacity gets at one time: additive increase, multiplicative decrease."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

FIRST = 8
COOL_S = 1.0


class Window:
    """A limit on concurrent requests that finds the endpoint's own.

    It grows by one per success until the endpoint pushes back for the first time, then by one per `limit` successes;
    each push-back halves it, at most once per second, because one overload is reported by many requests.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._limit = float(min(FIRST, most))
        self._searching = True
        self._cooled = 0.0
        self._running = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        return int(self._limit)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place, in order of arrival, and hold it."""
        while self._running >= self.limit:
            turn = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it was this one's turn: pass it on
                    self._wake()
                raise
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._wake()

    def succeeded(self) -> None:
        self._limit = min(float(self._most), self._limit + (1.0 if self._searching else 1.0 / self._limit))
        self._wake()

    def pushed_back(self) -> None:
        """The endpoint was overloaded: 429, 5xx or no connection."""
        now = self._clock()
        if now >= self._cooled:
            self._limit, self._searching, self._cooled = max(1.0, self._limit / 2), False, now + COOL_S

    def _wake(self) -> None:
        free = self.limit - self._running
        while self._queue and free > 0:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
