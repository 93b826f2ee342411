"""How many replicas a teacher should have: a decision from its backlog, and since when there were too many.

up      at once, to as many as the backlog fills `ROUNDS` times, at most twice what there is (and at least one more)
down    one at a time, after `cool_s` in which fewer would have done
zero    where `least` is 0 and there has been no work for `cool_s`
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDS = 2
"""An engine takes long to start: it is worth it for this many times what it keeps in flight."""
COOL_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolBounds:
    """What the configuration allows."""

    least: int
    """0 or more."""
    most: int
    in_flight: int
    """Requests that one replica keeps in flight."""
    cool_s: float = COOL_S


class Scaler:
    """Decides; somebody else starts and retires."""

    def __init__(self, bounds: PoolBounds) -> None:
        self._bounds = bounds
        self._ample_since: float | None = None

    def wanted(self, backlog: int, running: int, now: float) -> int:
        """How many replicas there should be.

        Args:
            backlog: requests that wait or are out.
            running: replicas that there are, those that still start among them.
            now: seconds, monotonic.
        """
        bounds = self._bounds
        enough = min(bounds.most, max(bounds.least, self._enough(backlog)))
        if enough >= running:
            self._ample_since = None
            return min(enough, max(2 * running, running + 1, bounds.least))
        if self._ample_since is None:
            self._ample_since = now
        if running > bounds.most:
            return bounds.most
        if now - self._ample_since < bounds.cool_s:
            return running
        self._ample_since = now
        return running - 1

    def _enough(self, backlog: int) -> int:
        return math.ceil(backlog / (ROUNDS * self._bounds.in_flight)) if backlog > 0 else 0
