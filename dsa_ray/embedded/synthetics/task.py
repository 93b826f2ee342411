"""What a synthetic task is, and how training and held-out samples are drawn from one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Protocol

HELD_OUT = 100
"""Held-out samples per skill, as published."""
TRIES = 200
"""Draws for a new sample, before a skill counts as used up."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One question; the answer is a single character behind a space."""

    skill: int
    """1-based, as in the paper."""
    prompt: str
    answer: str

    @property
    def text(self) -> str:
        return f"{self.prompt} {self.answer}"


class Task(Protocol):
    """A family of skills."""

    @property
    def skills(self) -> int:
        """How many there are."""
        ...

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The published skill graph: (training on, helps), 1-based."""
        ...

    @property
    def random_shares(self) -> tuple[float, ...]:
        """Proportions of the published random baseline."""
        ...

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        ...

    def sample(self, skill: int, rng: Random) -> Sample: ...

    def solve(self, prompt: str) -> str | None:
        """The exact answer to a prompt of this task, None for any other text."""
        ...


def held_out(task: Task, seed: int, per_skill: int = HELD_OUT) -> dict[int, list[Sample]]:
    """Different samples of every skill, by skill; the same for the same seed."""
    return {
        skill: list(stream(task, skill, Random(f"held-out-{seed}-{skill}"), set(), per_skill))
        for skill in range(1, task.skills + 1)
    }


def stream(task: Task, skill: int, rng: Random, seen: set[str], count: int) -> Iterator[Sample]:
    """`count` samples of a skill with prompts that are not in `seen`, which they join.

    Raises:
        RuntimeError: the skill has no further samples.
    """
    for _ in range(count):
        for _ in range(TRIES):
            sample = task.sample(skill, rng)
            if sample.prompt not in seen:
                break
        else:
            raise RuntimeError(f"skill {skill}: no new sample in {TRIES} draws, {len(seen)} are known; ask for fewer")
        seen.add(sample.prompt)
        yield sample
