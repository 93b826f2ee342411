"""A clock that deadlines can be trusted to: it never goes back, and no single leap lets anything expire."""

from __future__ import annotations

from collections.abc import Callable


class SteadyClock:
    """Seconds that have passed while somebody looked.

    Between two looks at most `leap_s` pass: a process that was stopped, or a machine that slept, could not have heard
    of what was finished meanwhile, so that time counts against nobody. Time that runs backwards stands still.

    Args:
        clock: seconds.
        leap_s: longest time that may pass unseen.
    """

    def __init__(self, clock: Callable[[], float], leap_s: float) -> None:
        self._clock, self._leap_s = clock, leap_s
        self._last = self._now = clock()
        self.jumps = 0
        """Looks that found the clock gone back, or too far ahead."""

    def __call__(self) -> float:
        told = self._clock()
        passed, self._last = told - self._last, told
        self.jumps += not 0.0 <= passed <= self._leap_s
        self._now += min(max(0.0, passed), self._leap_s)
        return self._now
