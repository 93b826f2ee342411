"""What is held back until others have looked at it: votes on an exercise's answer, and a judge's score.

    exercise written -> n answers (Kind.ANSWER) and a critique (Kind.CRITIQUE) are ordered
                     -> all are there, or were given up
                     -> kept, with the answer that most agree on; or dropped: `disagreement` or `judge`

Answers are compared by hash, so equal means equal in `generation.answer_text.canonical`. Nothing here is stored: the
journal's items and rejections, replayed in any order, come to the same conclusion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from dsa_ray.records import Kind, TextRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """An answer to a question, with its place and its length."""

    id: int
    answer_hash: int
    ref: TextRef
    tokens: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How a review ended."""

    exercise: int
    kept: bool
    reason: str
    """`kept`, `disagreement` or `judge`."""
    winner: Ballot
    """Whose solution and answer are trained on: the exercise's own where it is among the majority."""
    agreed: int
    """Ballots, the exercise's own not among them, with the winner's answer."""
    votes: int
    """Ballots that were cast."""
    score: int | None
    """The judge's; none without a judge, or where it failed."""


@dataclass(slots=True)
class _Open:
    own: Ballot
    ballots: list[Ballot] = field(default_factory=list)
    missing: int = 0
    """Answers that were given up."""
    score: int | None = None
    judged: bool = False


class Reviews:
    """The reviews that are not over.

    Args:
        votes: answers asked for per exercise; 0 = no vote.
        agreement: least share of the cast votes that the winning answer needs.
        judge: least score that a critique has to give; 0 = no critique.
    """

    def __init__(self, votes: int, agreement: float, judge: int) -> None:
        self._votes, self._agreement, self._judge = votes, agreement, judge
        self._open: dict[int, _Open] = {}

    @property
    def wanted(self) -> bool:
        """Whether exercises are held back at all."""
        return bool(self._votes or self._judge)

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, own: Ballot) -> None:
        """An exercise is written; its own answer is a ballot that is not counted."""
        self._open.setdefault(own.id, _Open(own))

    def lacking(self, ordered: Counter[tuple[int, Kind]]) -> Iterator[tuple[int, Kind]]:
        """(exercise, kind) of every request that an open review needs beyond those ordered."""
        for exercise in self._open:
            for _ in range(self._votes - ordered[exercise, Kind.ANSWER]):
                yield exercise, Kind.ANSWER
            if self._judge and not ordered[exercise, Kind.CRITIQUE]:
                yield exercise, Kind.CRITIQUE

    def needed(self, exercise: int) -> Iterator[tuple[int, Kind]]:
        """The same for one exercise of which nothing was ordered yet."""
        yield from ((exercise, Kind.ANSWER) for _ in range(self._votes))
        if self._judge:
            yield exercise, Kind.CRITIQUE

    def vote(self, exercise: int, ballot: Ballot) -> Finding | None:
        """An answer came; the finding if it was the last thing missing."""
        review = self._open.get(exercise)
        if review is None or any(other.id == ballot.id for other in review.ballots):
            return None
        review.ballots.append(ballot)
        return self._settled(exercise)

    def judged(self, exercise: int, score: int | None) -> Finding | None:
        """The critique came, or was given up (None)."""
        review = self._open.get(exercise)
        if review is None:
            return None
        review.score, review.judged = score, True
        return self._settled(exercise)

    def no_vote(self, exercise: int) -> Finding | None:
        """An answer was given up."""
        review = self._open.get(exercise)
        if review is None:
            return None
        review.missing += 1
        return self._settled(exercise)

    def _settled(self, exercise: int) -> Finding | None:
        review = self._open[exercise]
        if len(review.ballots) + review.missing < self._votes or (self._judge and not review.judged):
            return None
        del self._open[exercise]
        winner, agreed = _winner(review)
        reason = "kept"
        if self._votes and agreed < max(1.0, self._agreement * len(review.ballots)):
            reason = "disagreement"
        elif self._judge and (review.score or 0) < self._judge:
            reason = "judge"
        return Finding(
            exercise=exercise,
            kept=reason == "kept",
            reason=reason,
            winner=winner,
            agreed=agreed,
            votes=len(review.ballots),
            score=review.score,
        )


def _winner(review: _Open) -> tuple[Ballot, int]:
    """The ballot whose answer most gave, and how many; of several the exercise's own, else that of the lowest id."""
    if not review.ballots:
        return review.own, 0
    counts = Counter(ballot.answer_hash for ballot in review.ballots)
    most = max(counts.values())
    if counts.get(review.own.answer_hash) == most:
        return review.own, most
    best = min((ballot for ballot in review.ballots if counts[ballot.answer_hash] == most), key=lambda b: b.id)
    return best, most
