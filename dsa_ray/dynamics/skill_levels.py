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
        self._spans = Columns(first="i4", count="i4")  # of a combination, by code
        self._members = Columns(skill="i4")
        self._levels = Columns(level="f8")  # of a skill, by number

    def code(self, skills: tuple[str, ...]) -> int:
        """The number of a combination; a new one gets the next."""
        if skills not in self._codes:
            self._codes[skills] = len(self._codes)
            self._spans.append_one(first=len(self._members), count=len(skills))
            for skill in skills:
                if skill not in self._numbers:
                    self._numbers[skill] = len(self._numbers)
                    self._levels.append_one(level=0.0)
                self._members.append_one(skill=self._numbers[skill])
        return self._codes[skills]

    def fit(self, codes: np.ndarray, above: np.ndarray) -> None:
        """Take the levels from these cycles, and from no others.

        Args:
            codes: int[n], the combination of each cycle.
            above: float64[n], how far the cycle lay above the average.
        """
        skills, cycles = self._skills(codes)
        totals = np.bincount(skills, weights=above[cycles], minlength=len(self._numbers))
        self._levels["level"][:] = totals / (np.bincount(skills, minlength=len(self._numbers)) + _PRIOR)

    def levels(self, codes: np.ndarray) -> np.ndarray:
        """The level of each of these combinations, int[n] -> float64[n]; 0 for skills that no cycle was of."""
        skills, places = self._skills(codes)
        totals = np.bincount(places, weights=self._levels["level"][skills], minlength=len(codes))
        return totals / np.maximum(1, np.bincount(places, minlength=len(codes)))

    def _skills(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the skills of these combinations, one after the other, and the place in `codes` of each."""
        first, count = self._spans["first"][codes], self._spans["count"][codes]
        places = np.repeat(np.arange(len(codes)), count)
        within = np.arange(len(places)) - np.repeat(np.cumsum(count) - count, count)
        return self._members["skill"][first[places] + within], places

    def state_dict(self) -> dict[str, np.ndarray]:
        return {"skill_sets": np.frombuffer(json.dumps(list(self._codes)).encode(), np.uint8)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self._reset()
        for skills in json.loads(state["skill_sets"].tobytes()):
            self.code(tuple(skills))
