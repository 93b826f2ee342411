"""The book of ladders that a run climbs while it trains (YODA): which are wanted, and which are over.

Like orders they are never undone: a ladder is wanted once for an exercise, whatever checkpoint training returns to.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from dsa_ray.sections import LADDER_IDS, LaddersConfig

LADDER, LADDER_OVER = "ladder", "ladder_over"
"""Events."""


class LadderBook:
    """Every ladder has a block of ids of its own, for what comes of it: climbed again after a death, it gives what it
    teaches the same ids, which count once.

    Args:
        yoda: how large ladders are, and how many a skill gets.
        take_ids: mints so many ids, one after another; gives the first.
        emit: takes events for the journal.
        spend: told of the first skill of a ladder that is over, and of its counts.
    """

    def __init__(
        self,
        yoda: LaddersConfig,
        take_ids: Callable[[int], int],
        emit: Callable[[dict[str, Any]], None],
        spend: Callable[[str, Mapping[str, int]], None],
    ) -> None:
        self._yoda, self._take_ids, self._emit, self._spend = yoda, take_ids, emit, spend
        self._first: dict[int, int] = {}
        self._blocks: list[int] = []
        self._skills: dict[int, tuple[str, ...]] = {}
        self._over: set[int] = set()
        self._of: Counter[tuple[str, ...]] = Counter()
        self.counts: Counter[str] = Counter()
        """Over all ladders that are over: see `Ladder.counts`, and `samples`."""

    def wants(self, exercise: int, skills: tuple[str, ...], in_a_row: int) -> bool:
        """Whether a ladder is to be climbed from an exercise that is hard to learn, the last of so many in a row.

        None starts from what a ladder taught: its questions have been answered, or shown, already.
        """
        yoda = self._yoda
        enough = in_a_row >= yoda.hard_verdicts and self._of[skills] < yoda.per_skill
        return yoda.live and enough and exercise not in self._first and not self._taught(exercise)

    def _taught(self, exercise: int) -> bool:
        place = bisect.bisect_right(self._blocks, exercise)
        return place > 0 and exercise < self._blocks[place - 1] + LADDER_IDS

    def order(self, exercise: int, skills: tuple[str, ...]) -> None:
        """Want a ladder from an exercise. Idempotent."""
        if exercise not in self._first:
            first = self._take_ids(LADDER_IDS)
            ids = {"first": first, "id": first + LADDER_IDS - 1}
            event = {"event": LADDER, "exercise": exercise, "skills": list(skills), **ids}
            self._note(event)
            self._emit(event)

    def due(self, climbing: Collection[int], most: int) -> list[tuple[int, int]]:
        """Up to so many ladders that are wanted and neither over nor among those climbed: exercise, its first id."""
        waiting = (one for one in self._first.items() if one[0] not in self._over and one[0] not in climbing)
        return [one for one, _ in zip(waiting, range(most), strict=False)]

    def finish(self, exercise: int, counts: Mapping[str, int]) -> None:
        """A ladder is over, and what it taught is durable. Idempotent."""
        if exercise in self._first and exercise not in self._over:
            event = {"event": LADDER_OVER, "exercise": exercise, "counts": dict(counts)}
            self._note(event)
            self._emit(event)

    def restore(self, event: Mapping[str, Any]) -> None:
        """Take note of an event of the journal; others are nothing to it."""
        if event["event"] in (LADDER, LADDER_OVER):
            self._note(event)

    def facts(self) -> dict[str, int]:
        """For status and summary; empty where no ladder was ever wanted."""
        return {"wanted": len(self._first), "over": len(self._over), **self.counts} if self._first else {}

    def _note(self, event: Mapping[str, Any]) -> None:
        exercise = event["exercise"]
        if event["event"] == LADDER:
            self._first[exercise] = event["first"]
            bisect.insort(self._blocks, event["first"])
            self._skills[exercise] = tuple(event["skills"])
            self._of[self._skills[exercise]] += 1
        else:
            self._over.add(exercise)
            self.counts.update(event["counts"])
            self._spend(self._skills[exercise][0], event["counts"])
