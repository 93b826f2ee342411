"""Replicas by name, for whoever asks them one thing at a time: a death costs the answer under way, asked for again.

The same two methods as a `Replica` in this process (`streams.climber.Teacher`, `streams.climber.Student`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from dsa_ray.engines.base import EngineAnswer, EngineDead, EngineError
from dsa_ray.records import Assignment, Completion, Written

PAUSE_S = 0.5
"""Between attempts to reach a replica that is being restarted."""


class NamedReplicas:
    """Equal replicas; each call goes to the one with the fewest under way.

    Args:
        names: of the `ReplicaActor`s.
        patience_s: a call that no replica took for so long has failed.
    """

    def __init__(self, names: Sequence[str], patience_s: float) -> None:
        self._names, self._patience_s = list(names), patience_s
        self._under_way: Counter[str] = Counter()
        self.deaths = 0
        """Calls whose replica died, and which were made again."""

    async def write(self, assignment: Assignment, parents: Sequence[Written] = ()) -> Completion:
        """See `Replica.write`."""
        return await self._call("write", assignment, tuple(parents))

    async def converse(
        self, chat: Sequence[Mapping[str, str]], max_tokens: int, temperature: float, seed: int | None = None
    ) -> tuple[EngineAnswer, str]:
        """See `Replica.converse`."""
        return await self._call("converse", list(chat), max_tokens, temperature, seed)

    async def _call(self, method: str, *values: Any) -> Any:
        """
        Raises:
            EngineError: of the replica, or because none could be reached for `patience_s`.
        """
        began = time.monotonic()
        while True:
            name = min(self._names, key=self._under_way.__getitem__)
            self._under_way[name] += 1
            try:
                return await getattr(ray.get_actor(name), method).remote(*values)
            except (RayActorError, EngineDead, ValueError) as error:  # gone, or not there: Ray may be restarting it
                if isinstance(error, RayTaskError) and not isinstance(error, EngineDead):
                    raise
                if time.monotonic() - began > self._patience_s:
                    raise EngineError(f"{name} cannot be reached for {self._patience_s:g} s: {error}") from error
                self.deaths += 1
                await asyncio.sleep(PAUSE_S)
            finally:
                self._under_way[name] -= 1
