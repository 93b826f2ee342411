"""Drives a synchronous, stepping engine from a thread, for callers in an event loop."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from dsa_ray.engines.base import EngineDead

logger = logging.getLogger(__name__)

STOP_S = 10.0


class EngineThread:
    """Makes the engine in its thread, steps it while it has requests, and hands finished outputs back.

    The engine has vLLM's `LLMEngine` interface: `add_request`, `abort_request`, `has_unfinished_requests`, `step`.
    Everything that touches it runs in the thread, between two steps. An error in a step ends the engine: all that wait
    get `EngineDead`.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        """Blocks until the engine is made; raises what its making raised."""
        self._commands: queue.Queue[Callable[[], None]] = queue.Queue()
        self._waiting: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Future[Any]]] = {}
        self._stopping = False
        self._death: BaseException | None = None
        self._made = threading.Event()
        self.engine: Any = None
        self._thread = threading.Thread(target=self._run, args=(make,), name="engine", daemon=True)
        self._thread.start()
        self._made.wait()
        if self._death is not None:
            raise self._death

    async def generate(self, prompt: Any, params: Any, request_id: str, **more: Any) -> Any:
        """The finished output of one request; `more` is for the engine's `add_request`. Cancelling gives it up."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def add(engine: Any) -> None:
            engine.add_request(request_id, prompt, params, **more)
            self._waiting[request_id] = (loop, future)

        try:
            await self.call(add)
            return await future
        except asyncio.CancelledError:
            self._commands.put(lambda: self._abort(request_id))
            raise

    async def call(self, function: Callable[[Any], Any]) -> Any:
        """Run `function(engine)` between two steps; returns or raises what it does."""
        if self._death is not None or self._stopping:
            raise EngineDead(f"the engine has ended: {self._death or 'stopped'}")
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def command() -> None:
            try:
                result = function(self.engine)
            except Exception as error:
                _later(loop, future, error=error)
            else:
                _later(loop, future, result)

        self._waiting[f"call {id(future)}"] = (loop, future)
        self._commands.put(command)
        try:
            if not self._thread.is_alive():  # it died before it could see this call
                raise EngineDead(f"the engine has ended: {self._death or 'stopped'}")
            return await future
        finally:
            self._waiting.pop(f"call {id(future)}", None)

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._stopping = True
        self._commands.put(lambda: None)
        self._thread.join(STOP_S)

    def _abort(self, request_id: str) -> None:
        if self._waiting.pop(request_id, None) is not None:
            self.engine.abort_request([request_id])

    def _run(self, make: Callable[[], Any]) -> None:
        try:
            self.engine = make()
        except BaseException as error:
            self._death = error
            return
        finally:
            self._made.set()
        try:
            while not self._stopping:
                self._obey()
                if self.engine.has_unfinished_requests():
                    self._step()
        except BaseException as error:
            logger.exception("the engine died in a step")
            self._death = error
        for loop, future in list(self._waiting.values()):
            _later(loop, future, error=EngineDead(f"the engine has ended: {self._death or 'stopped'}"))

    def _obey(self) -> None:
        """Run the commands that wait; wait for one when there is nothing to compute."""
        if not self.engine.has_unfinished_requests():
            self._commands.get()()
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            command()

    def _step(self) -> None:
        for output in self.engine.step():
            if output.finished and (found := self._waiting.pop(output.request_id, None)) is not None:
                _later(*found, output)


def _later(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any = None, error: Exception | None = None
) -> None:
    """Settle a future of another thread's loop, unless it was cancelled or its loop is closed."""

    def settle() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
