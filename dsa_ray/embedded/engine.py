"""The exact writers as a text engine: a teacher that is always right, and one that errs at a given rate.

For tests, benchmarks and as the smallest example of `teacher.kind: python`. An engine is anything with the methods of
`ExactEngine`; its answers carry `text`, `finish_reason` and `output_tokens`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from dsa_ray.embedded.writers import write
from dsa_ray.records import EXERCISE_KINDS

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactAnswer:
    """What the engine answers; the attributes of every engine's answer."""

    text: str
    finish_reason: str
    output_tokens: int
    """An estimate: there is no tokenizer here."""


class ExactEngine:
    """Answers a call from its assignment, without a model. Deterministic in the request's seed, id and attempt.

    Args:
        error_rate: share of exercises whose answer is made wrong.
        seconds: how long an answer takes; 0 answers at once.
    """

    version = "exact"

    def __init__(self, error_rate: float = 0.0, seconds: float = 0.0) -> None:
        self.error_rate = error_rate
        self.seconds = seconds

    async def start(self) -> None:
        """Nothing to load."""

    async def generate(self, call: Any) -> ExactAnswer:
        """The exact answer to `call.assignment`; `call.parents` holds the parents' texts."""
        if call.assignment is None:
            raise ValueError("the exact engine answers assignments only, not free messages")
        await asyncio.sleep(self.seconds)
        request = call.assignment.request
        item = write(call.assignment, call.parents)
        rng = Random(f"error-{request.seed}-{request.id}-{request.attempt}")
        if request.kind in EXERCISE_KINDS and rng.random() < self.error_rate:
            item["answer"] = wrong(rng, item["answer"])
        text = json.dumps(item)
        return ExactAnswer(text=text, finish_reason="stop", output_tokens=len(text) // CHARACTERS_PER_TOKEN + 1)

    async def load_weights(self, path: str, version: str) -> None:
        """There are no weights; the version is noted."""
        self.version = version

    async def stop(self) -> None:
        """Nothing to end."""


def wrong(rng: Random, answer: str) -> str:
    """The answer with one digit changed, or another answer where it has none."""
    places = [place for place, character in enumerate(answer) if character.isdigit()]
    if not places:
        return f"{answer}+{rng.randint(2, 9)}"
    place = rng.choice(places)
    digit = rng.choice([d for d in "123456789" if d != answer[place]])
    return answer[:place] + digit + answer[place + 1 :]


def exact_writer() -> ExactEngine:
    """Factory for `teacher.factory: dsa_ray.embedded.engine:exact_writer`."""
    return ExactEngine()


def exact_writer_with_errors(error_rate: float = 0.1) -> Callable[[], ExactEngine]:
    """A factory of engines that err at this rate."""
    return partial(ExactEngine, error_rate=error_rate)
