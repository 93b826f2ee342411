"""How far the cycles of each skill lie above the average of all."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from dsa_ray.dynamics.columns import Columns

_PRIOR = 4.0
"""Cycles at the average that every skill is taken to have had: few cycles of a skill say little of it."""


class SkillLevels:
    """Combinations of skills, numbered as they come, and the level of each.

    The level of a skill is the mean of what its cycles lay above the average when they completed, drawn towards 0 by
    `_PRIOR`; that of a combination is the mean of its skills'. Combinations are many and each is rare, skills are not.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._codes: dict[tuple[str, ...], int] = {}
        self._numbers: dict[str, int] = {}
        self._pairs = Columns(code="i4", skill="i4")

    def __len__(self) -> int:
        """Combinations so far."""
        return len(self._codes)

    def code(self, skills: tuple[str, ...]) -> int:
        """The number of a combination; a new one gets the next."""
        if skills not in self._codes:
            self._codes[skills] = len(self._codes)
            for skill in skills:
                number = self._numbers.setdefault(skill, len(self._numbers))
                self._pairs.append_one(code=self._codes[skills], skill=number)
        return self._codes[skills]

    def levels(self, codes: np.ndarray, above: np.ndarray) -> np.ndarray:
        """The level of every combination, float64[len(self)].

        Args:
            codes: int[n], the combination of each cycle.
            above: float64[n], how far the cycle lay above the average.
        """
        code, skill = self._pairs["code"], self._pairs["skill"]
        if not len(skill):
            return np.zeros(len(self))
        totals = np.bincount(codes, weights=above, minlength=len(self))
        counts = np.bincount(codes, minlength=len(self))
        of_skill = np.bincount(skill, weights=totals[code]) / (np.bincount(skill, weights=counts[code]) + _PRIOR)
        return np.bincount(code, weights=of_skill[skill], minlength=len(self)) / np.maximum(
            1, np.bincount(code, minlength=len(self))
        )

    def state_dict(self) -> dict[str, np.ndarray]:
        return {"skill_sets": np.array([json.dumps(skills) for skills in self._codes], dtype=str)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self._reset()
        for skills in state["skill_sets"].tolist():
            self.code(tuple(json.loads(skills)))
