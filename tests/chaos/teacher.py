"""The exact writer, failing when a file says so: one file is one call that fails."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from dsa_ray.embedded.engine import exact_writer
from dsa_ray.engines.base import EngineAnswer, EngineCall, EngineDead, EngineError, TextEngine

ORDERS = "DSA_CHAOS_ORDERS"
"""Environment variable with the folder in which the files lie."""


class FailingWriter:
    """Answers as the engine within does, unless told otherwise."""

    def __init__(self, inner: TextEngine, orders: Path) -> None:
        self._inner, self._orders = inner, orders

    @property
    def version(self) -> str:
        return self._inner.version

    async def start(self) -> None:
        await self._inner.start()

    async def generate(self, call: EngineCall) -> EngineAnswer:
        match self._order():
            case "error":
                raise EngineError("told to fail")
            case "dead":
                raise EngineDead("told to die")
            case "hang":
                await asyncio.sleep(3600.0)
        return await self._inner.generate(call)

    async def load_weights(self, path: str, version: str) -> None:
        await self._inner.load_weights(path, version)

    async def stop(self) -> None:
        await self._inner.stop()

    def _order(self) -> str | None:
        for file in sorted(self._orders.iterdir()):
            try:
                file.unlink()
            except FileNotFoundError:
                continue
            return file.name.partition(".")[0]
        return None


def failing_writer() -> FailingWriter:
    """What `teacher.factory` names."""
    return FailingWriter(exact_writer(), Path(os.environ[ORDERS]))


def order(folder: Path, what: str, calls: int) -> None:
    """Let so many calls fail in this way."""
    for number in range(calls):
        (folder / f"{what}.{number}").touch()
