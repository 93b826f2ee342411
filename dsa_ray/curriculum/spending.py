"""What generation has cost, by skill, kind and teacher, and how much more may be asked of a teacher.

A bound on what is still out is kept back from the budget, so a paid teacher never costs more than it: requests are
leased only as far as all that are out, at their longest, would still fit. Where some teachers have a price and others
have none, the budget is that of the paid ones: what the others write counts for nothing, and they are never stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dsa_ray.records import ExerciseRequest, Kind
from dsa_ray.sections import BudgetConfig

_MILLION = 1e6
_ENDLESS = 1_000_000


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a teacher takes."""

    prices: tuple[float, float] = (0.0, 0.0)
    """Of a million prompt tokens, and of a million answer tokens."""
    longest: tuple[int, int]
    """Prompt and answer tokens that one request takes at most."""

    def price(self, asked: int, answered: int) -> float:
        """Of so many prompt and answer tokens."""
        return (asked * self.prices[0] + answered * self.prices[1]) / _MILLION


class Spending:
    """Keeps accounts.

    Args:
        budget: what may be spent; limits that are not set do not bind.
        teachers: terms of each teacher of the pool.
    """

    def __init__(self, budget: BudgetConfig, teachers: Sequence[Terms]) -> None:
        self._budget, self._teachers = budget, teachers
        self._limited = budget.tokens is not None or budget.seconds is not None or budget.money is not None
        paid = [number for number, terms in enumerate(teachers) if any(terms.prices)]
        self._bound = frozenset(paid or range(len(teachers)))
        self.total = Cost()
        self.by_kind: defaultdict[str, Cost] = defaultdict(Cost)
        self.by_skill: defaultdict[str, Cost] = defaultdict(Cost)
        self.by_teacher = [Cost() for _ in teachers]

    def book(self, request: ExerciseRequest, row: Mapping[str, Any], accepted: bool, teacher: int = 0) -> None:
        """An attempt ended; `row` holds its `input_tokens`, `output_tokens` and `seconds`."""
        if request.kind is Kind.GIVEN:
            return
        costs = self.total, self.by_kind[request.kind.value], self.by_skill[request.skills[0]], self.by_teacher[teacher]
        for cost in costs:
            cost.items += accepted
            cost.attempts += 1
            cost.input_tokens += row.get("input_tokens", 0)
            cost.output_tokens += row.get("output_tokens", 0)
            cost.seconds += row.get("seconds", 0.0)

    def book_ladder(self, skill: str, counts: Mapping[str, int]) -> None:
        """A ladder is over; `counts` holds its `samples`, and what its questions and hints took of the teachers.

        Which of them wrote is not known: it counts as the dearest one's.
        """
        dearest = max(range(len(self._teachers)), key=lambda at: sum(self._teachers[at].prices))
        for cost in (self.total, self.by_kind["ladder"], self.by_skill[skill], self.by_teacher[dearest]):
            cost.items += counts.get("samples", 0)
            cost.attempts += counts.get("questions", 0) + counts.get("hints", 0)
            cost.input_tokens += counts.get("teacher_input_tokens", 0)
            cost.output_tokens += counts.get("teacher_output_tokens", 0)

    @property
    def money(self) -> float:
        """What all teachers together have cost."""
        return sum(self._money(number) for number in range(len(self._teachers)))

    def binds(self, teacher: int) -> bool:
        """Whether the budget counts and stops this teacher."""
        return self._limited and teacher in self._bound

    def room(self, teacher: int, outstanding: Mapping[int, int]) -> int | None:
        """How many more requests may go out to a teacher; None where no budget binds it.

        Args:
            teacher: its number in the pool.
            outstanding: requests that are out, by the number of their teacher.
        """
        if not self.binds(teacher):
            return None
        budget, terms = self._budget, self._teachers[teacher]
        out = [(self._teachers[number], outstanding.get(number, 0)) for number in self._bound]
        rooms = []
        if budget.tokens is not None:
            spent = sum(self.by_teacher[at].input_tokens + self.by_teacher[at].output_tokens for at in self._bound)
            kept = sum(count * sum(theirs.longest) for theirs, count in out)
            rooms.append((budget.tokens - spent - kept) // sum(terms.longest))
        if budget.seconds is not None:
            rooms.append(_ENDLESS if sum(self.by_teacher[at].seconds for at in self._bound) < budget.seconds else 0)
        if budget.money is not None and (each := terms.price(*terms.longest)):
            kept_money = sum(count * theirs.price(*theirs.longest) for theirs, count in out)
            rooms.append(int(min(_ENDLESS, (budget.money - self.money - kept_money) // each)))
        return max(0, min(rooms)) if rooms else None

    def facts(self) -> dict[str, Any]:
        """Plain values for the status and the summary."""
        teachers = [asdict(cost) | {"money": round(self._money(at), 6)} for at, cost in enumerate(self.by_teacher)]
        return {
            "total": asdict(self.total),
            "money": round(self.money, 6),
            "by_kind": {kind: asdict(cost) for kind, cost in sorted(self.by_kind.items())},
            "by_skill": {skill: asdict(cost) for skill, cost in sorted(self.by_skill.items())},
            "by_teacher": teachers,
        }

    def _money(self, teacher: int) -> float:
        cost = self.by_teacher[teacher]
        return self._teachers[teacher].price(cost.input_tokens, cost.output_tokens)
