"""Which replica answers garbage: far more of its answers cannot be read than of the others', for the same kinds.

A broken card writes `!!!!` without ever failing. What it writes is rejected like any other text, and never trained on;
but it takes its share of the requests, and their attempts. So each replica's last `WINDOW` answers are held against the
last ones of all other replicas of its teacher. The test is exact: within each kind of request all those answers are
taken as drawn from one urn, and `chance` says how likely it is that so many of the bad ones fell to this replica. A
hard kind of request or a bad teacher is the same urn for all, so nobody is blamed for it. A replica that is alone is
held against what it answered before.

It is looked at after every `EVERY` answers, and blamed below a chance of `FALSE_ALARM`: a healthy replica of answers
that are independent of each other is replaced at most once in EVERY / FALSE_ALARM = 16 million answers. Answers are not
quite independent (a skill may be hard), so the shares have to differ by `GAP` as well, and a replica is replaced at
most `REPLACEMENTS` times in `WITHIN_S`: then it is no accident of its process, and a warning says so.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

UNREADABLE = frozenset({"engine", "truncated", "schema", "empty", "language"})
"""Reasons of rejections that say that there was no text that could be read; all others judge a text."""
WINDOW, EVERY, PAST = 64, 16, 512
"""Answers: of a replica that are looked at, between two looks, and before these that are kept for one that is alone."""
FALSE_ALARM = 1e-6
GAP = 0.4
REPLACEMENTS, WITHIN_S = 3, 3600.0

Answers = Iterable[tuple[str, bool]]
"""(kind of the request, whether the answer could not be read)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of a replica's answers with those of others: the shares of the unreadable, over kinds that both had."""

    own: float
    others: float
    answers: int
    """Of its own that were compared."""
    chance: float
    """Of so many unreadable ones or more, if it is like the others."""

    @property
    def suspicious(self) -> bool:
        return self.answers >= EVERY and self.own - self.others >= GAP

    @property
    def broken(self) -> bool:
        return self.suspicious and self.chance < FALSE_ALARM


def compare(own: Answers, others: Answers) -> Comparison:
    """Hold answers against others, each kind by itself; a kind that only one of the two had says nothing."""
    own, others = Counter(own), Counter(others)
    kinds = {kind for kind, _ in own} & {kind for kind, _ in others}
    tables = [(own[kind, True], own[kind, False], others[kind, True], others[kind, False]) for kind in sorted(kinds)]
    bad, good, bad_there, good_there = (sum(column) for column in zip(*tables, strict=True)) if tables else (0,) * 4
    share = bad / (bad + good) if tables else 0.0
    return Comparison(share, bad_there / (bad_there + good_there) if tables else 0.0, bad + good, chance(tables))


def chance(tables: Iterable[tuple[int, int, int, int]]) -> float:
    """Of at least as many bad ones in the first group, given all sums: Fisher's exact test, over several tables.

    Args:
        tables: one per kind: bad and good in the first group, bad and good in the second.
    """
    seen, distribution = 0, np.ones(1)
    for bad, good, bad_there, good_there in tables:
        group, all_bad, everything = bad + good, bad + bad_there, bad + good + bad_there + good_there
        least, most = max(0, all_bad - (good_there + bad_there)), min(group, all_bad)
        whole = _log_ways(everything, all_bad)
        ways = (_log_ways(group, k) + _log_ways(everything - group, all_bad - k) for k in range(least, most + 1))
        distribution = np.convolve(distribution, [math.exp(way - whole) for way in ways])
        seen += bad - least
    return min(1.0, float(distribution[seen:].sum()))


def _log_ways(things: int, taken: int) -> float:
    """Logarithm of the number of ways to take so many of so many things."""
    return math.lgamma(things + 1) - math.lgamma(taken + 1) - math.lgamma(things - taken + 1)


@dataclass(slots=True)
class _Replica:
    """What is known of one replica."""

    incarnation: int = 0
    window: deque[tuple[str, bool]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    past: deque[tuple[str, bool]] = field(default_factory=lambda: deque(maxlen=PAST))
    unseen: int = 0
    """Answers since the last look."""
    condemned: bool = False
    replaced: deque[float] = field(default_factory=lambda: deque(maxlen=REPLACEMENTS))
    """When it was replaced the last times, seconds."""
    given_up: bool = False


class Garbage:
    """Keeps every replica's last answers; says which process has to be replaced. Nothing of it is durable.

    Args:
        teacher_of: number of the teacher that a replica serves; None where another process would be no better.
    """

    def __init__(self, teacher_of: Callable[[str], int | None]) -> None:
        self._teacher_of = teacher_of
        self._replicas: dict[str, _Replica] = {}
        self.replaced: Counter[str] = Counter()
        """How often each replica was."""

    def add(self, name: str, incarnation: int, kind: str, unreadable: bool) -> None:
        """An answer of this process of a replica was examined; later processes have higher numbers."""
        if self._teacher_of(name) is None:
            return
        replica = self._replicas.setdefault(name, _Replica())
        if incarnation > replica.incarnation:
            self._follow(replica, incarnation)
        if replica.condemned or incarnation < replica.incarnation:
            return
        if len(replica.window) == WINDOW:
            replica.past.append(replica.window[0])
        replica.window.append((kind, unreadable))
        replica.unseen += 1

    def suspicious(self, name: str) -> bool:
        """Whether a replica looks broken, proven or not: what it makes of a request should not be the last word."""
        return name in self._replicas and (self._replicas[name].condemned or self._compare(name).suspicious)

    def condemned(self, name: str, incarnation: int) -> bool:
        """Whether this process is to be replaced: it is given nothing any more."""
        replica = self._replicas.get(name)
        return replica is not None and replica.condemned and incarnation <= replica.incarnation

    def look(self, now: float) -> list[dict[str, Any]]:
        """Condemn the processes that answer garbage. Returns for each `replica`, `incarnation` and the figures.

        Args:
            now: seconds.
        """
        found = []
        for name, replica in self._replicas.items():
            if replica.unseen < EVERY or replica.condemned:
                continue
            replica.unseen = 0
            compared = self._compare(name)
            if not compared.broken:
                continue
            if len(replica.replaced) == REPLACEMENTS and now - replica.replaced[0] < WITHIN_S:
                replica.given_up = True
                continue
            replica.condemned, replica.given_up = True, False
            replica.replaced.append(now)
            self.replaced[name] += 1
            figures = {"unreadable": round(compared.own, 3), "others": round(compared.others, 3)}
            found.append({"replica": name, "incarnation": replica.incarnation, **figures, "answers": compared.answers})
        return found

    @property
    def to_replace(self) -> dict[str, int]:
        """Incarnations that have to end, by replica, until another one has answered."""
        return {name: replica.incarnation for name, replica in self._replicas.items() if replica.condemned}

    def warnings(self) -> list[str]:
        """A line for each replica that was replaced."""
        lines = []
        for name, times in sorted(self.replaced.items()):
            line = f"{name} was replaced {'once' if times == 1 else f'{times} times'}: it answered garbage"
            if self._replicas[name].given_up:
                line += f", and does so still; after {REPLACEMENTS} times it is left as it is: look at its machine"
            lines.append(line)
        return lines

    def _compare(self, name: str) -> Comparison:
        own, teacher = self._replicas[name], self._teacher_of(name)
        peers = [
            replica.window
            for other, replica in self._replicas.items()
            if other != name and not replica.condemned and self._teacher_of(other) == teacher
        ]
        if any(peers):
            return compare(own.window, chain.from_iterable(peers))
        return compare(own.window, own.past)

    @staticmethod
    def _follow(replica: _Replica, incarnation: int) -> None:
        """Another process answers: what a healthy one said before is the past, what a broken one said is nothing."""
        if not replica.condemned:
            replica.past.extend(replica.window)
        replica.window.clear()
        replica.incarnation, replica.condemned, replica.unseen = incarnation, False, 0
