"""What of a rank's report may count. Nothing that a report says can break the curator: what is wrong is refused.

whole reports    old_attempt      the trainer has begun again since
                 repeated         its rows are not out: it was reported before, or was never leased
                 wrong_step       its rows belong to another step
                 malformed        ids and losses differ in number, or are no numbers
single losses    unknown_id       not in the rows of the report
                 repeated_visit   its exercise is named again in the same report
                 not_finite       NaN, infinite, or so large that sums of them would be
                 negative         below 0, which no cross-entropy is
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from dsa_ray.curriculum.leases import LeaseLedger
from dsa_ray.records import PackedItem, RowPlan

MOST_NATS = 1e9
ROUNDING = 1e-3
"""Nats below 0 that rounding may account for; they count as they are."""
KEPT_IDS = 100
"""So many ids are remembered of each reason, the first ones."""
NAMED_IDS = 8


class Refused:
    """Counts of refused losses by reason, with the ids of the first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.ids: dict[str, list[int]] = {}

    def add(self, reason: str, ids: Iterable[int]) -> None:
        """Each id stands for one loss."""
        ids = [int(each) for each in ids]
        self.counts[reason] += len(ids)
        kept = self.ids.setdefault(reason, [])
        kept += [each for each in ids if each not in kept][: KEPT_IDS - len(kept)]

    def warnings(self) -> list[str]:
        """A line for each reason; what an older attempt still reports is as it should be."""
        return [
            f"losses refused as {reason}: {count} (exercises {', '.join(map(str, self.ids[reason][:NAMED_IDS]))})"
            for reason, count in sorted(self.counts.items())
            if reason != "old_attempt" and count
        ]


class Report:
    """The losses of one rank's step, with whatever may not count taken out.

    Args:
        ids: int64[n].
        losses: nats, float64[n].
    """

    def __init__(self, ids: np.ndarray, losses: np.ndarray) -> None:
        self.ids, self.losses = _vector(ids, "iu"), _vector(losses, "fiu")
        self.refused: dict[str, np.ndarray] = {}

    def fault(self, ledger: LeaseLedger, claim: tuple[int, int, int], leases: Sequence[int]) -> str:
        """Why the whole report cannot count, or nothing. `claim` is its rank, attempt and step."""
        rank, attempt, step = claim
        if attempt != ledger.attempt:
            return "old_attempt"
        if not 0 <= rank < ledger.ranks or not leases or len(ledger.out_rows(rank, leases)) < len(leases):
            return "repeated"
        if any(row.step != step for row in ledger.out_rows(rank, leases)):
            return "wrong_step"
        if self.ids is None or self.losses is None or len(self.ids) != len(self.losses):
            return "malformed"
        return ""

    def keep_exercises(self, rows: Sequence[RowPlan], late: Collection[int]) -> list[PackedItem]:
        """Refuse single losses; afterwards `ids` and `losses` hold those that count, in the report's order.

        Args:
            rows: the packed rows that were leased.
            late: ids of textbooks among the exercises: they count, but not as exercises, and may come in pieces.

        Returns:
            The leased item of every exercise among them; textbooks are left out.
        """
        items = {item.exercise: item for row in rows for item in row.items}
        finite = np.abs(self.losses) <= MOST_NATS  # false for NaN
        negative = self.losses < -ROUNDING
        known = np.array([each in items for each in self.ids.tolist()], bool)
        book = np.array([each in late for each in self.ids.tolist()], bool)
        _, first = np.unique(self.ids, return_index=True)
        again = np.ones(len(self.ids), bool)
        again[first] = False
        for reason, bad in (
            ("unknown_id", ~known),
            ("repeated_visit", known & again & ~book),
            ("not_finite", known & (~again | book) & ~finite),
            ("negative", known & (~again | book) & finite & negative),
        ):
            if bad.any():
                self.refused[reason] = self.ids[bad]
        kept = known & finite & ~negative & (~again | book)
        self.ids, self.losses, self._book = self.ids[kept], self.losses[kept], book[kept]
        return [items[each] for each in self.ids[~self._book].tolist()]

    def of_exercises(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids and losses without the textbooks'; after `keep_exercises`."""
        return self.ids[~self._book], self.losses[~self._book]


def _vector(values: Any, kinds: str) -> np.ndarray | None:
    """The values as a vector; None if they are none, or not of these numpy kinds."""
    try:
        vector = np.asarray(values)
    except (ValueError, TypeError):
        return None
    if vector.ndim != 1 or (vector.size and vector.dtype.kind not in kinds):
        return None
    return vector if vector.size else np.zeros(0, "i8" if kinds == "iu" else "f8")
