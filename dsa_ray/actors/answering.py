"""Which replicas have stopped answering: alive for Ray, and dead for everybody who waits for them.

A process that is stopped, or whose event loop hangs, runs neither its own watch thread nor anything else. So it is
noticed from outside: it answered before, and leaves a question open for `watch.silent_s`. Ending it lets Ray start
another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Answering:
    """Keeps who has answered. Plain: who calls it ends what it names.

    Args:
        silent_s: one that leaves a question open for longer hangs.
    """

    def __init__(self, silent_s: float) -> None:
        self._silent_s = silent_s
        self._answered: set[str] = set()

    def look(self, answered: Iterable[str], open_s: Mapping[str, float]) -> list[str]:
        """Take note of one round of questions; names those that hang, each once until it answers again.

        One that never answered is still starting, which has a deadline of its own (`watch.engine_start_s`).

        Args:
            open_s: of those that have not answered, for how many seconds their question has been open. It counts from
                the question, not from the last answer: who asks late must not take others for silent.
        """
        self._answered.update(answered)
        hung = [name for name, seconds in open_s.items() if name in self._answered and seconds > self._silent_s]
        self._answered -= set(hung)
        return hung

    def forget(self, name: str) -> None:
        """It ended, and starts anew."""
        self._answered.discard(name)
