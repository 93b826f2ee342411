"""Which skills stay hard, so that more of the same does not help: they get ladders in the place of variants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dsa_ray.records import Verdict, VerdictClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict with the skills of its exercise."""

    verdict: Verdict
    skills: tuple[str, ...]


class HardRuns:
    """How many of the latest verdicts on the same skills were hard-to-learn, one after another.

    Verdicts on several skills together count for these skills together. It follows dynamics both ways: one easy or
    ambiguous verdict, and the run begins anew.
    """

    def __init__(self) -> None:
        self.lengths: Counter[tuple[str, ...]] = Counter()
        """By skills, in the order of their first verdict."""

    def take(self, skills: tuple[str, ...], verdict: VerdictClass) -> int:
        """The length of the run, with this verdict."""
        self.lengths[skills] = self.lengths[skills] + 1 if verdict is VerdictClass.HARD else 0
        return self.lengths[skills]

    def state_dict(self) -> dict[str, Any]:
        return {"lengths": [[list(skills), length] for skills, length in self.lengths.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.lengths = Counter({tuple(skills): length for skills, length in state["lengths"]})


def stay_hard(judged: Iterable[Judged], in_a_row: int) -> dict[tuple[str, ...], list[int]]:
    """The skills whose latest `in_a_row` verdicts are all hard-to-learn, and which of their exercises are hard now.

    Args:
        judged: verdicts in the order in which they fell.
        in_a_row: how many.

    Returns:
        exercise ids by skills, the highest mean loss first; skills in the order of their first verdict.
    """
    runs = HardRuns()
    latest: dict[int, Judged] = {}
    for one in judged:
        runs.take(one.skills, one.verdict.verdict)
        latest[one.verdict.exercise] = one
    return {
        skills: [one.verdict.exercise for one in _hard_of(latest.values(), skills)]
        for skills, run in runs.lengths.items()
        if run >= in_a_row
    }


def _hard_of(latest: Iterable[Judged], skills: tuple[str, ...]) -> list[Judged]:
    hard = [one for one in latest if one.skills == skills and one.verdict.verdict is VerdictClass.HARD]
    return sorted(hard, key=lambda one: (-one.verdict.mean_loss, one.verdict.exercise))
