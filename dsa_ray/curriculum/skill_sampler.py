"""Which exercise is trained next where skills have shares: stride scheduling over groups, then inside each of them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dsa_ray.curriculum.sampler import Sampler

_SPARE = 8
"""Candidates that every group offers beyond its share, for the packer."""


class SkillSampler:
    """Visits groups of exercises in proportion to given shares, and the exercises of a group by their weights.

    It stands in for `Sampler`: the same methods, caps and gaps. A group without a share comes only when the others have
    nothing to offer, so that training does not wait. A group that had nothing to offer does not catch up later.

    Args:
        group_of: the group of an exercise; asked once, when it is added.
        cap, gap, seed: as for `Sampler`.
    """

    def __init__(self, group_of: Callable[[int], str], cap: int, gap: int = 1, seed: int = 0) -> None:
        self._group_of = group_of
        self._make = lambda: Sampler(cap, gap, seed)
        self._reset()

    def _reset(self) -> None:
        self._parts: dict[str, Sampler] = {}
        self._group: dict[int, str] = {}
        self._shares: dict[str, float] = {}
        self._passes: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._group)

    def __contains__(self, exercise: int) -> bool:
        return exercise in self._group

    @property
    def eligible(self) -> int:
        return sum(part.eligible for part in self._parts.values())

    @property
    def unvisited(self) -> int:
        return sum(part.unvisited for part in self._parts.values())

    @property
    def dropped(self) -> int:
        return sum(part.dropped for part in self._parts.values())

    @property
    def exhausted(self) -> int:
        return sum(part.exhausted for part in self._parts.values())

    @property
    def counts(self) -> dict[str, int]:
        """Exercises ever added, by group."""
        return {group: len(part) for group, part in self._parts.items()}

    @property
    def shares(self) -> dict[str, float]:
        """As they were set last; none before."""
        return dict(self._shares)

    def set_shares(self, shares: Mapping[str, float]) -> None:
        """From now on visits go to the groups in these proportions; a group that is not named has none.

        Raises:
            ValueError: a share that is negative or not finite, or nothing but zeros.
        """
        if not all(0 <= share < np.inf for share in shares.values()) or not sum(shares.values()) > 0:
            raise ValueError(f"shares {dict(shares)}: each must be 0 or more, one at least above 0")
        self._shares = dict(shares)
        self._passes = dict.fromkeys(self._parts, 0.0)

    def visits_due(self, visits: int) -> int:
        return sum(part.visits_due(visits) for part in self._parts.values())

    def visits(self, exercise: int) -> int:
        return self._part(exercise).visits(exercise)

    def weight(self, exercise: int) -> float:
        return self._part(exercise).weight(exercise)

    def add(self, exercise: int, weight: float = 1.0, front: bool = False, floor: float = 0.0) -> None:
        """Take in a new exercise; it comes next within its group. Raises ValueError as `Sampler.add` does."""
        group = self._group_of(exercise)
        part = self._parts.setdefault(group, self._make())
        if not part.eligible:
            self._passes[group] = max(self._passes.get(group, 0.0), self._floor())
        part.add(exercise, weight, front, floor)
        self._group[exercise] = group

    def set_weight(self, exercise: int, weight: float) -> None:
        self._part(exercise).set_weight(exercise, weight)

    def peek(self, count: int, step: int, below: float = math.inf) -> np.ndarray:
        """Up to `count` ids (int64) that may be trained at `step`, in the order of the shares. Changes nothing.

        `below` counts within a group, as in `Sampler.peek`.
        """
        total = sum(self._shares.values()) or 1.0
        wanted = {group: int(2 * count * self._shares.get(group, 0.0) / total) + _SPARE for group in self._parts}
        found = self._merged(wanted, count, step, below)
        if len(found) < count:
            found = self._merged(dict.fromkeys(self._parts, count), count, step, below)
        return np.array(found, np.int64)

    def take(self, exercises: Sequence[int], step: int) -> list[int]:
        """Count a visit of each at `step`; returns their numbers. Raises ValueError as `Sampler.take` does."""
        by_group: dict[str, list[int]] = {}
        for exercise in exercises:
            self._part(exercise)
            by_group.setdefault(self._group[exercise], []).append(exercise)
        visits: dict[int, int] = {}
        for group, members in by_group.items():
            visits |= zip(members, self._parts[group].take(members, step), strict=True)
            self._passes[group] = self._passes.get(group, 0.0) + len(members) * self._stride(group)
        return [visits[exercise] for exercise in exercises]

    def untake(self, exercises: Iterable[int]) -> None:
        """Undo the newest visit of each. Raises ValueError as `Sampler.untake` does."""
        for exercise in exercises:
            self._part(exercise).untake([exercise])
            group = self._group[exercise]
            self._passes[group] = self._passes.get(group, 0.0) - self._stride(group)

    def drop(self, exercise: int) -> None:
        self._part(exercise).drop(exercise)

    def restore(self, exercise: int) -> None:
        self._part(exercise).restore(exercise)

    def state_dict(self) -> dict[str, Any]:
        groups = list(self._parts)
        return {
            "groups": groups,
            "passes": [self._passes.get(group, 0.0) for group in groups],
            "shares": [[group, share] for group, share in self._shares.items()],
            "parts": {f"part{place}": self._parts[group].state_dict() for place, group in enumerate(groups)},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace everything by what `state_dict` gave."""
        self._reset()
        self._shares = dict(state["shares"])
        self._passes = dict(zip(state["groups"], state["passes"], strict=True))
        for place, group in enumerate(state["groups"]):
            part = self._parts[group] = self._make()
            part.load_state_dict(state["parts"][f"part{place}"])
            self._group |= dict.fromkeys(state["parts"][f"part{place}"]["sampler.id"].tolist(), group)

    def _merged(self, wanted: Mapping[str, int], count: int, step: int, below: float) -> list[int]:
        """The groups' next ones, merged by stride; those of groups without a share at the end."""
        queues = {group: self._parts[group].peek(number, step, below).tolist() for group, number in wanted.items()}
        order = [
            (not self._shares.get(group), self._passes.get(group, 0.0), place, group, 0)
            for place, group in enumerate(queues)
            if queues[group]
        ]
        heapq.heapify(order)
        found: list[int] = []
        while order and len(found) < count:
            last, virtual, place, group, taken = heapq.heappop(order)
            found.append(queues[group][taken])
            if taken + 1 < len(queues[group]):
                heapq.heappush(order, (last, virtual + self._stride(group), place, group, taken + 1))
        return found

    def _stride(self, group: str) -> float:
        return 1.0 / (self._shares.get(group) or 1.0)

    def _floor(self) -> float:
        """The lowest pass of all groups that have something to offer."""
        return min((self._passes.get(group, 0.0) for group, part in self._parts.items() if part.eligible), default=0.0)

    def _part(self, exercise: int) -> Sampler:
        if exercise not in self._group:
            raise ValueError(f"exercise {exercise} is not in the sampler")
        return self._parts[self._group[exercise]]
