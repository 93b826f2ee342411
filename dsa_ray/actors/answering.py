"""Which replicas have stopped answering: alive for Ray, and dead for everybody who waits for them.

A process that is stopped, or whose event loop hangs, runs neither its own watch thread nor anything else. So it is
noticed from outside: it answered before, and has not for `watch.hang_s`. Ending it lets Ray start another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable


class Answering:
    """Keeps the time of the last answer of each. Plain: who calls it ends what it names.

    Args:
        hang_s: silence after which one counts as hung.
        clock: seconds, monotonic.
    """

    def __init__(self, hang_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._hang_s, self._clock = hang_s, clock
        self._last: dict[str, float] = {}

    def look(self, answered: Iterable[str], silent: Iterable[str]) -> list[str]:
        """Take note of one round of questions; names those that hang, each once until it answers again.

        One that never answered is still starting, which has a deadline of its own (`watch.engine_start_s`).
        """
        now = self._clock()
        self._last.update(dict.fromkeys(answered, now))
        hung = [name for name in silent if name in self._last and now - self._last[name] > self._hang_s]
        for name in hung:
            del self._last[name]
        return hung

    def forget(self, name: str) -> None:
        """It ended, and starts anew."""
        self._last.pop(name, None)
