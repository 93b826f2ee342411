"""The held-out partition: which questions belong to the exam and are never written for training.

The split is over the values of a question, not its words: a question and its paraphrases are on the same side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from random import Random
from typing import Any

from dsa_ray.embedded.families import FAMILIES
from dsa_ray.embedded.families.family import Values

HELD_OUT_SHARE = 6
"""One in so many questions is held out."""
TRIES = 1000


def held_out(skill: str, values: Mapping[str, Any]) -> bool:
    """Whether the question of this skill with these values belongs to the exam."""
    key = "|".join([skill, *(f"{name}={values[name]}" for name in sorted(values))])
    return hashlib.blake2b(key.encode(), digest_size=4).digest()[0] % HELD_OUT_SHARE == 0


def draw(rng: Random, skill: str, difficulty: int, for_exam: bool = False) -> Values:
    """Values of a question on the asked-for side of the split."""
    family = FAMILIES[skill]
    for _ in range(TRIES):
        values = family.sample(rng, difficulty)
        if held_out(skill, values) is for_exam:
            return values
    raise RuntimeError(
        f"{skill}: no {'held-out' if for_exam else 'free'} question of difficulty {difficulty} in {TRIES} draws"
    )
