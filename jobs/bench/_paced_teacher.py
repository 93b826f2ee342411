"""A teacher that only takes time: at most `at_once` answers side by side; waits while the file `pause` exists.

In a module of its own: a replica loads it, and should not load a whole ring with it.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from dsa_ray.engines.base import EngineAnswer, EngineCall
from dsa_ray.records import Kind

PACE = "DSA_BENCH_PACE"
"""Environment variable with the teacher's settings, which replicas inherit."""


class PacedTeacher:
    """A text engine that takes real time and no CPU."""

    version = "paced"

    def __init__(self, seconds: float, at_once: int, pause: str) -> None:
        self._seconds, self._pause = seconds, Path(pause)
        self._room = asyncio.Semaphore(at_once)

    async def start(self) -> None:
        """Nothing to load."""

    async def generate(self, call: EngineCall) -> EngineAnswer:
        assert call.assignment is not None
        async with self._room:
            while self._pause.exists():
                await asyncio.sleep(0.05)
            await asyncio.sleep(self._seconds)
        request = call.assignment.request
        text = json.dumps(_text(request.kind, request.id, request.skills))
        return EngineAnswer(text=text, finish_reason="stop", output_tokens=24, input_tokens=48)

    async def load_weights(self, path: str, version: str) -> None:
        """There are none."""

    async def stop(self) -> None:
        """Nothing to end."""


def teacher() -> PacedTeacher:
    """What `teacher.factory` names."""
    return PacedTeacher(**json.loads(os.environ[PACE]))


def _text(kind: Kind, number: int, skills: tuple[str, ...]) -> dict[str, str]:
    if kind is Kind.TEXTBOOK:
        return {"text": f"{skills[0]}: page {number}. " + "One thing follows from another. " * 6}
    return {"question": f"What is {number} + {number}?", "solution": f"It is {2 * number}.", "answer": str(2 * number)}
