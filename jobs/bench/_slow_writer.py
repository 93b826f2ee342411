"""A teacher for kill tests: the exact writer, at the pace of a small model, erring now and then."""

from __future__ import annotations

import random
from typing import Any

from dsa_ray.embedded.engine import ExactEngine
from dsa_ray.engines.base import EngineAnswer


class SlowWriter(ExactEngine):
    """An answer takes 0.05 to 0.4 s; one in twenty is no JSON."""

    async def generate(self, call: Any) -> Any:
        self.seconds = random.uniform(0.05, 0.4)
        if random.random() < 0.05:
            return EngineAnswer(text="{ no JSON", finish_reason="stop", output_tokens=3)
        return await super().generate(call)


def slow_writer() -> SlowWriter:
    return SlowWriter()
