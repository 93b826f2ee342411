"""LEGO: a chain of variables, each equal to the one before it or its negation; skill i asks for the i-th.

    Input: c = not a , a = val 1 , f = val c. Output: f = val 0

All clauses are always there, in random order; only the queried variable makes the skill (Skill-It, section 2.2). The
letters of a sample are a random choice without repetition, the bits are random, so chance is a half.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from random import Random
from string import ascii_lowercase
from typing import Literal

from dsa_ray.embedded.synthetics.task import Sample

Shape = Literal["chain", "two_chains", "tree"]

_EDGES = ((2, 1), (2, 3), (2, 4))
_RANDOM = (1.0, 1.0, 1.0, 3.0, 5.0)
_PROMPT = re.compile(r"Input: ([a-z0-9 ,=]{1,1000})\. Output: ([a-z]) = val")
_CLAUSE = re.compile(r"([a-z]) = (val|not) ([a-z01])")


@dataclass(frozen=True)
class Lego:
    """LEGO with `variables` skills.

    Args:
        variables: k, 2 to 26.
        shape: `chain`: each variable needs the one before it; `two_chains`: the second half starts anew from a bit of
            its own; `tree`: each needs the one at half its place (binary tree).

    Raises:
        ValueError: too few or too many variables.
    """

    variables: int = 5
    shape: Shape = "chain"

    chance = 0.5

    def __post_init__(self) -> None:
        if not 2 <= self.variables <= len(ascii_lowercase):
            raise ValueError(f"LEGO: {self.variables} variables; 2 to {len(ascii_lowercase)} have letters")

    @property
    def skills(self) -> int:
        return self.variables

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Published for a chain of five (it is not the reasoning graph); cut to the skills that there are."""
        return tuple(edge for edge in _EDGES if max(edge) <= self.variables)

    @property
    def random_shares(self) -> tuple[float, ...]:
        """Published for five: 1:1:1:3:5. With fewer skills its last ones, so that the imbalance stays."""
        return _RANDOM[-self.variables :] if self.variables <= len(_RANDOM) else (1.0,) * self.variables

    @cached_property
    def parents(self) -> tuple[int | None, ...]:
        """Place of the variable that each one needs, 0-based; None for a root."""
        if self.shape == "tree":
            return (None, *((place - 1) // 2 for place in range(1, self.variables)))
        start = (self.variables + 1) // 2 if self.shape == "two_chains" else 0
        return tuple(None if place in (0, start) else place - 1 for place in range(self.variables))

    def sample(self, skill: int, rng: Random) -> Sample:
        letters = rng.sample(ascii_lowercase, self.variables)
        bits = [rng.randrange(2) for _ in letters]
        clauses = [self._clause(place, letters, bits) for place in range(self.variables)]
        rng.shuffle(clauses)
        prompt = f"Input: {' , '.join(clauses)}. Output: {letters[skill - 1]} = val"
        return Sample(skill, prompt, str(bits[skill - 1]))

    def solve(self, prompt: str) -> str | None:
        match = _PROMPT.fullmatch(prompt)
        if match is None:
            return None
        clauses = [_CLAUSE.fullmatch(clause) for clause in match[1].split(" , ")]
        known = {clause[1]: (clause[2], clause[3]) for clause in clauses if clause}
        if None in clauses or len(known) < len(clauses):
            return None
        name, flips = match[2], 0
        for _ in known:
            if name not in known:
                return None
            relation, name = known[name]
            if name in "01":
                return None if relation == "not" else str(int(name) ^ flips % 2)
            flips += relation == "not"
        return None

    def _clause(self, place: int, letters: list[str], bits: list[int]) -> str:
        parent = self.parents[place]
        if parent is None:
            return f"{letters[place]} = val {bits[place]}"
        relation = "val" if bits[place] == bits[parent] else "not"
        return f"{letters[place]} = {relation} {letters[parent]}"
