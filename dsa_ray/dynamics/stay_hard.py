"""Which skills stay hard, so that more of the same does not help: they get ladders in the place of variants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from dsa_ray.records import Verdict, VerdictClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict with the skills of its exercise."""

    verdict: Verdict
    skills: tuple[str, ...]


def stay_hard(judged: Iterable[Judged], in_a_row: int) -> dict[tuple[str, ...], list[int]]:
    """The skills whose latest `in_a_row` verdicts are all hard-to-learn, and which of their exercises are hard now.

    Verdicts on several skills together count for these skills together. Level follows dynamics both ways: one easy
    or ambiguous verdict, and the skill is no longer among them.

    Args:
        judged: verdicts in the order in which they fell.
        in_a_row: how many.

    Returns:
        exercise ids by skills, the highest mean loss first; skills in the order of their first verdict.
    """
    runs: defaultdict[tuple[str, ...], int] = defaultdict(int)
    latest: dict[int, Judged] = {}
    for one in judged:
        hard = one.verdict.verdict is VerdictClass.HARD
        runs[one.skills] = runs[one.skills] + 1 if hard else 0
        latest[one.verdict.exercise] = one
    return {
        skills: [one.verdict.exercise for one in _hard_of(latest.values(), skills)]
        for skills, run in runs.items()
        if run >= in_a_row
    }


def _hard_of(latest: Iterable[Judged], skills: tuple[str, ...]) -> list[Judged]:
    hard = [one for one in latest if one.skills == skills and one.verdict.verdict is VerdictClass.HARD]
    return sorted(hard, key=lambda one: (-one.verdict.mean_loss, one.verdict.exercise))
