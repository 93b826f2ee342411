"""How busy an engine is, and since when it has answered nothing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 30.0


class Meter:
    """Counts requests and tokens. Written by the event loop, read by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._born = clock()
        self._busy_s = 0.0
        self._busy_since: float | None = None
        self._progress = self._born
        self._recent: deque[tuple[float, int]] = deque()
        self.in_flight = 0
        self.answers = 0
        self.errors = 0
        self.output_tokens = 0

    def ready(self) -> None:
        """The engine can answer from now on: idle time counts from here."""
        self._born = self._progress = self._clock()

    def began(self) -> None:
        if self.in_flight == 0:
            self._busy_since = self._progress = self._clock()
        self.in_flight += 1

    def ended(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0 and self._busy_since is not None:
            self._busy_s += self._clock() - self._busy_since
            self._busy_since = None

    def answered(self, tokens: int) -> None:
        self.answers += 1
        self.output_tokens += tokens
        now = self.progressed()
        self._recent.append((now, tokens))
        while self._recent[0][0] < now - WINDOW_S:
            self._recent.popleft()

    def failed(self, *, by_engine: bool) -> None:
        """A request failed; an error that the engine itself reported shows that it lives, a timeout does not."""
        self.errors += 1
        if by_engine:
            self.progressed()

    def progressed(self) -> float:
        self._progress = self._clock()
        return self._progress

    def silent_s(self) -> float:
        """Seconds for which requests have been in flight without any answer; 0 when there are none."""
        return self._clock() - self._progress if self.in_flight else 0.0

    def idle_ratio(self) -> float:
        """Share of the time since `ready` without a request in flight."""
        now = self._clock()
        busy = self._busy_s + (now - self._busy_since if self._busy_since is not None else 0.0)
        return max(0.0, 1.0 - busy / (now - self._born)) if now > self._born else 1.0

    def tokens_per_s(self) -> float:
        """Output tokens per second over the last half minute."""
        now = self._clock()
        tokens = sum(count for when, count in tuple(self._recent) if when >= now - WINDOW_S)
        return tokens / max(1e-9, min(WINDOW_S, now - self._born))

    def last_progress_s(self) -> float:
        """Seconds since the last answer."""
        return self._clock() - self._progress
