"""Exercises that wait for their reviews: orders what the reviews need, and gives on what they keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dsa_ray.curriculum.review import Ballot, Finding, Reviews
from dsa_ray.records import REVIEW_KINDS, ExerciseRequest, Kind, Order, TextRef
from dsa_ray.sections import ChecksConfig


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted exercise, in numbers."""

    request: ExerciseRequest
    ref: TextRef
    tokens: int
    prompt_tokens: int
    answer_hash: int


class HeldBack:
    """Between an exercise's acceptance and its training.

    Args:
        checks: whether there are reviews, and what they ask for.
        order: orders one item; None when nothing more is ordered.
        emit: takes events for the journal.
        rejected: counts, by reason, what reviews drop.
    """

    def __init__(
        self,
        checks: ChecksConfig,
        order: Callable[[Order], ExerciseRequest | None],
        emit: Callable[[dict[str, Any]], None],
        rejected: Counter[str],
    ) -> None:
        self.reviews = Reviews(checks.votes, checks.agreement, checks.judge)
        self._order, self._emit, self._rejected = order, emit, rejected
        self._waiting: dict[int, Accepted] = {}
        self._ordered: Counter[tuple[int, Kind]] = Counter()
        self._told: set[int] = set()

    def take(self, accepted: Accepted, order: bool) -> list[Accepted]:
        """An exercise is written: it is given on at once, or held back. `order` what its review needs, if so."""
        if not self.reviews.wanted or accepted.request.kind is Kind.GIVEN:
            return [accepted]
        self._waiting[accepted.request.id] = accepted
        self.reviews.begin(_ballot(accepted))
        if order:
            for exercise, kind in list(self.reviews.needed(accepted.request.id)):
                self._order_one(exercise, kind)
        return []

    def order_lacking(self) -> None:
        """Order what open reviews need and was never ordered: the process died in between."""
        for exercise, kind in list(self.reviews.lacking(self._ordered)):
            self._order_one(exercise, kind)

    def answered(self, request: ExerciseRequest, ref: TextRef, row: Mapping[str, Any]) -> list[Accepted]:
        """An answer or a critique is written."""
        if request.kind is Kind.CRITIQUE:
            return self._conclude(self.reviews.judged(request.parents[0], row["score"]))
        answer = Accepted(request, ref, row["tokens"], row["prompt_tokens"], row["answer_hash"])
        return self._conclude(self.reviews.vote(request.parents[0], _ballot(answer)))

    def given_up(self, request: ExerciseRequest) -> list[Accepted]:
        """An answer or a critique will not come."""
        if request.kind is Kind.ANSWER:
            return self._conclude(self.reviews.no_vote(request.parents[0]))
        return self._conclude(self.reviews.judged(request.parents[0], None))

    def told_before(self, exercise: int) -> None:
        """The journal holds the finding on this exercise."""
        self._told.add(exercise)

    def restore(self, minted: Iterable[ExerciseRequest], given_up: set[int]) -> list[Accepted]:
        """What was ordered before, once all written items were booked again. Returns what this releases."""
        released = []
        for request in minted:
            if request.kind in REVIEW_KINDS:
                self._ordered[request.parents[0], request.kind] += 1
                released += self.given_up(request) if request.id in given_up else []
        return released

    def _order_one(self, exercise: int, kind: Kind) -> None:
        request = self._waiting[exercise].request
        order = Order(kind=kind, skills=request.skills, difficulty=request.difficulty, parents=(exercise,))
        if self._order(order) is not None:
            self._ordered[exercise, kind] += 1

    def _conclude(self, finding: Finding | None) -> list[Accepted]:
        """Give on an exercise whose review is over, with the answer that won; or count why not."""
        if finding is None:
            return []
        held, winner = self._waiting.pop(finding.exercise), finding.winner
        if finding.exercise not in self._told:
            self._emit({"event": "review", **_event(finding)})
        if not finding.kept:
            self._rejected[finding.reason] += 1
            return []
        lengths = {"tokens": winner.tokens, "prompt_tokens": winner.prompt_tokens}
        return [replace(held, ref=winner.ref, answer_hash=winner.answer_hash, **lengths)]


def _ballot(accepted: Accepted) -> Ballot:
    return Ballot(
        id=accepted.request.id,
        answer_hash=accepted.answer_hash,
        ref=accepted.ref,
        tokens=accepted.tokens,
        prompt_tokens=accepted.prompt_tokens,
    )


def _event(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.exercise,
        "kept": finding.kept,
        "reason": finding.reason,
        "winner": finding.winner.id,
        "agreed": finding.agreed,
        "votes": finding.votes,
        "score": finding.score,
    }
