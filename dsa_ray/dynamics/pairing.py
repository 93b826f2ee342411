"""Easy exercises that wait for a partner of different skills."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One easy exercise, without a partner yet."""

    exercise: int
    skills: tuple[str, ...]
    difficulty: int
    step: int
    """Step of the verdict by which it came here."""


class WaitingRoom:
    """First come, first paired; grouped by skill set, so that a search looks at sets, not at exercises."""

    def __init__(self) -> None:
        self._group_of: dict[int, frozenset[str]] = {}
        self._groups: dict[frozenset[str], dict[int, Waiting]] = {}

    def __len__(self) -> int:
        return len(self._group_of)

    def __contains__(self, exercise: int) -> bool:
        return exercise in self._group_of

    def add(self, easy: Waiting) -> None:
        """Let an exercise wait, behind all that wait already."""
        group = frozenset(easy.skills)
        # dicts keep insertion order, so a group's first entry is the one that waits longest
        self._groups.setdefault(group, {})[easy.exercise] = easy
        self._group_of[easy.exercise] = group

    def remove(self, exercise: int) -> None:
        """Take an exercise out, if it waits."""
        group = self._group_of.pop(exercise, None)
        if group is not None:
            del self._groups[group][exercise]
            if not self._groups[group]:
                del self._groups[group]

    def has_same(self, skills: tuple[str, ...]) -> bool:
        """Whether one of the very same skills waits."""
        return frozenset(skills) in self._groups

    def take_different(self, skills: tuple[str, ...]) -> Waiting | None:
        """Take the longest-waiting one of different skills: each of the two needs one that the other does not."""
        own = frozenset(skills)
        fronts = [
            next(iter(entries.values())) for group, entries in self._groups.items() if group - own and own - group
        ]
        if not fronts:
            return None
        partner = min(fronts, key=lambda entry: (entry.step, entry.exercise))
        self.remove(partner.exercise)
        return partner

    def void_after(self, step: int) -> None:
        """Forget those that came by a verdict of a later step."""
        for entry in self._all():
            if entry.step > step:
                self.remove(entry.exercise)

    def state_dict(self) -> dict[str, np.ndarray]:
        rows = [[entry.exercise, list(entry.skills), entry.difficulty, entry.step] for entry in self._all()]
        return {"waiting": np.array([json.dumps(row) for row in rows], dtype=str)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self._group_of, self._groups = {}, {}
        for row in state["waiting"].tolist():
            exercise, skills, difficulty, step = json.loads(row)
            self.add(Waiting(exercise=exercise, skills=tuple(skills), difficulty=difficulty, step=step))

    def _all(self) -> list[Waiting]:
        return [entry for entries in self._groups.values() for entry in entries.values()]
