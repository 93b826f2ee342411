"""Addition of numbers with a few digits, one digit asked for: skill 1 is the ones, skill 2 the tens, and so on.

    Input: A = 1 0 6 + 0 7 1 , A 0 = ? Output: 7

Operands are uniform over 0 .. 10^digits - 2; the digit that overflows is never asked (Skill-It, appendix C).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from dsa_ray.embedded.synthetics.task import Sample

_EDGES = ((2, 1),)
_RANDOM = (13.0, 14.0, 18.0)
_PROMPT = re.compile(r"Input: A = (\d(?: \d){0,8}) \+ (\d(?: \d){0,8}) , A (\d) = \? Output:")


@dataclass(frozen=True)
class Addition:
    """Addition with `digits` skills, 2 to 9 (published: 3). Raises ValueError for others."""

    digits: int = 3

    chance = 0.1

    def __post_init__(self) -> None:
        if not 2 <= self.digits <= 9:
            raise ValueError(f"addition: {self.digits} digits; 2 to 9 can be asked for")

    @property
    def skills(self) -> int:
        return self.digits

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        return _EDGES

    @property
    def random_shares(self) -> tuple[float, ...]:
        return _RANDOM[: self.digits] if self.digits <= len(_RANDOM) else (1.0,) * self.digits

    def sample(self, skill: int, rng: Random) -> Sample:
        first, second = rng.randrange(10**self.digits - 1), rng.randrange(10**self.digits - 1)
        prompt = f"Input: A = {self._spaced(first)} + {self._spaced(second)} , A {skill - 1} = ? Output:"
        return Sample(skill, prompt, str((first + second) // 10 ** (skill - 1) % 10))

    def solve(self, prompt: str) -> str | None:
        match = _PROMPT.fullmatch(prompt)
        if match is None:
            return None
        first, second, asked = (part.replace(" ", "") for part in match.groups())
        if len(first) != self.digits or len(second) != self.digits or int(asked) >= self.digits:
            return None
        carry = 0
        for a, b in zip(first[::-1][: int(asked) + 1], second[::-1], strict=False):
            carry, digit = divmod(int(a) + int(b) + carry, 10)
        return str(digit)

    def _spaced(self, number: int) -> str:
        return " ".join(f"{number:0{self.digits}d}")
