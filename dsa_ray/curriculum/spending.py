"""What generation has cost, by skill and by kind, and whether the budget allows more.

A bound on what is still out is kept back from the budget, so a paid teacher never costs more than it: requests are
leased only as far as all that are out, at their longest, would still fit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dsa_ray.records import ExerciseRequest, Kind
from dsa_ray.sections import BudgetConfig

_MILLION = 1e6


@dataclass(slots=True)
class Cost:
    """Sums over attempts, rejected ones too."""

    items: int = 0
    """Accepted."""
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    """Of requests in flight side by side: more than the wall clock's."""


class Spending:
    """Keeps accounts.

    Args:
        budget: what may be spent; limits that are not set do not bind.
        longest: (prompt, answer) tokens that one request takes at most.
    """

    def __init__(self, budget: BudgetConfig, longest: tuple[int, int]) -> None:
        self._budget, self._longest = budget, longest
        self.total = Cost()
        self.by_kind: defaultdict[str, Cost] = defaultdict(Cost)
        self.by_skill: defaultdict[str, Cost] = defaultdict(Cost)

    def book(self, request: ExerciseRequest, row: Mapping[str, Any], accepted: bool) -> None:
        """An attempt ended; `row` holds its `input_tokens`, `output_tokens` and `seconds`."""
        if request.kind is Kind.GIVEN:
            return
        for cost in (self.total, self.by_kind[request.kind.value], self.by_skill[request.skills[0]]):
            cost.items += accepted
            cost.attempts += 1
            cost.input_tokens += row.get("input_tokens", 0)
            cost.output_tokens += row.get("output_tokens", 0)
            cost.seconds += row.get("seconds", 0.0)

    def book_ladder(self, skill: str, counts: Mapping[str, int]) -> None:
        """A ladder is over; `counts` holds its `samples`, and what its questions and hints took of the teachers."""
        for cost in (self.total, self.by_kind["ladder"], self.by_skill[skill]):
            cost.items += counts.get("samples", 0)
            cost.attempts += counts.get("questions", 0) + counts.get("hints", 0)
            cost.input_tokens += counts.get("teacher_input_tokens", 0)
            cost.output_tokens += counts.get("teacher_output_tokens", 0)

    @property
    def money(self) -> float:
        return self._price(self.total.input_tokens, self.total.output_tokens)

    def room(self, outstanding: int) -> int | None:
        """How many requests may go out beside those that are out; None without a budget."""
        budget, total = self._budget, self.total
        asked, answered = self._longest
        rooms = []
        if budget.tokens is not None:
            left = budget.tokens - total.input_tokens - total.output_tokens
            rooms.append(left // (asked + answered))
        if budget.seconds is not None:
            rooms.append(outstanding + 1_000_000 if total.seconds < budget.seconds else 0)
        if budget.money is not None and (each := self._price(asked, answered)):
            rooms.append(int((budget.money - self.money) // each))
        return max(0, min(rooms) - outstanding) if rooms else None

    def facts(self) -> dict[str, Any]:
        """Plain values for the status and the summary."""
        return {
            "total": asdict(self.total),
            "money": round(self.money, 6),
            "by_kind": {kind: asdict(cost) for kind, cost in sorted(self.by_kind.items())},
            "by_skill": {skill: asdict(cost) for skill, cost in sorted(self.by_skill.items())},
        }

    def _price(self, asked: int, answered: int) -> float:
        budget = self._budget
        return (asked * budget.input_price + answered * budget.output_price) / _MILLION
