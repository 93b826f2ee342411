"""One teacher replica: pulls assignments, keeps N requests in flight, and holds what is finished until it is fetched.

    pull loop      curator -> assignments         waits for: room     unblocked by: a request that ends
    one task each  prompt -> engine -> outbox     waits for: engine   bounded by: generate.request_timeout_s
    completed()    outbox -> generation stream    waits for: a row    bounded by: the caller's wait
    confirm()      recorder -> outbox             frees room: generate.slots bounds what is not durable yet
    watch thread   silent for watch.hang_s        -> the process ends, Ray starts another

The class knows nothing of Ray; `replica_actor.py` is its shell. A failed request is data (a completion with
`finish_reason="error"`); a dead engine ends the process; anything else is a fault, kept and raised to every caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dsa_ray.actors.meter import Meter
from dsa_ray.actors.outbox import Outbox
from dsa_ray.config import Config
from dsa_ray.engines.base import EngineAnswer, EngineCall, EngineDead, EngineError, TextEngine
from dsa_ray.engines.calls import call_for, completion
from dsa_ray.generation.prompts import render
from dsa_ray.records import Assignment, Completion, TextRef, Written
from dsa_ray.sections import TeacherConfig
from dsa_ray.storage.filesystem import local_copy
from dsa_ray.streams.batches import Batch

logger = logging.getLogger(__name__)

Lease = Callable[[int], Awaitable[list[Assignment]]]
"""Asks the curator for at most n assignments; raises ConnectionError while the curator cannot be reached."""

NOTHING = EngineAnswer(text="", finish_reason="error", output_tokens=0)
GATHER_S = 0.01
"""Requests that end together are replaced by one call to the curator."""
LEASE_TIMEOUT_S = 10.0
WAIT_S = (0.05, 0.2)
"""Shortest and longest pause when the curator has nothing."""


class CuratorLost(Exception):
    """The curator could not be reached for `watch.stall_s`."""


def end_process(reason: str) -> None:
    """End this process at once, whatever hangs in it, so that it is replaced."""
    logger.error("replica process %d ends: %s", os.getpid(), reason)
    logging.shutdown()
    os._exit(1)


async def _fetched(url: str, stack: contextlib.ExitStack) -> str:
    """A model's folder as a path that holds as long as the stack."""
    try:
        return await asyncio.to_thread(stack.enter_context, local_copy(url))
    except FileNotFoundError as error:
        raise EngineError(f"{url}: there is no model here") from error


def student_teacher(config: Config) -> TeacherConfig:
    """The `teacher` section that serves the student's weights: for a replica that sits the exam.

    It keeps to its part of a card that it shares.
    """
    changes = {"kind": "vllm", "model": config.student.model, "max_model_len": config.student.max_model_len}
    changes |= dict.fromkeys(("adapter", "quantization", "chat_template", "temperature", "top_p"))
    part = config.cluster.student_gpus
    if 0 < part < 1:
        changes["memory_fraction"] = min(config.teacher.memory_fraction, part)
    return config.teacher.model_copy(update={**changes, "tensor_parallel": 1, "factory": None, "base_url": None})


class Replica:
    """See the module. All methods run in one event loop; `start` is called by whichever comes first."""

    def __init__(
        self,
        name: str,
        config: Config,
        engine: TextEngine,
        *,
        incarnation: int = 0,
        lease: Lease | None = None,
        text: Callable[[TextRef], Written] | None = None,
        end: Callable[[str], None] = end_process,
    ) -> None:
        """
        Args:
            name: of the replica; the same after a restart.
            config: its `teacher` section is the model served here.
            incarnation: differs for each process, so that the curator can reclaim what a dead one held.
            lease: where work comes from; none serves `ask` only.
            text: fetches a parent's text (blocking).
            end: what to do when the engine is dead.
        """
        self.name, self.incarnation = name, incarnation
        self._config, self._engine, self._lease, self._text, self._end = config, engine, lease, text, end
        self._in_flight = config.generate.in_flight
        self._remote = config.teacher.kind == "openai"
        self._running: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._outbox = Outbox(incarnation)
        self._meter = Meter()
        self._loading = False
        self._fault: BaseException | None = None
        self._started: asyncio.Task[None] | None = None
        self._puller: asyncio.Task[None] | None = None
        self._stopped = threading.Event()

    async def start(self) -> None:
        """Start the engine and pull work from then on. Idempotent; returns when the engine is ready."""
        if self._started is None:
            self._started = asyncio.create_task(self._start())
        await asyncio.shield(self._started)
        if self._fault is not None:
            raise self._fault

    async def completed(self, max_rows: int, wait_s: float, seen: str = "", reader: int = 0) -> Batch:
        """Finished completions, kept until they are confirmed; see `Outbox.take`."""
        await self.start()
        batch = await self._outbox.take(max_rows, wait_s, seen, reader)
        if self._fault is not None:
            raise self._fault
        return batch

    async def confirm(self, tokens: Sequence[str]) -> None:
        """The batches of these tokens are durable; their room is free again."""
        self._outbox.confirm(tokens)
        self._changed.set()

    async def retire(self) -> bool:
        """Take no more work. Whether all that was taken is finished, durable and confirmed: then it may be ended."""
        if self._puller is not None:
            self._puller.cancel()
        return not self._running and not len(self._outbox)

    async def ask(
        self,
        messages: Sequence[Sequence[Mapping[str, str]]],
        max_tokens: int,
        temperature: float,
        seed: int | None = None,
    ) -> list[str]:
        """Answers to many chats at once, in their order; for the exam.

        Raises:
            EngineError: one chat failed `generate.attempts` times; the line names it.
        """
        return [text for text, _ in await self.answer(messages, max_tokens, temperature, seed)]

    async def answer(
        self,
        messages: Sequence[Sequence[Mapping[str, str]]],
        max_tokens: int,
        temperature: float,
        seed: int | None = None,
    ) -> list[tuple[str, str]]:
        """Like `ask`, with the version of the weights beside each text.

        A text that was under way while weights were swapped names both: `step-100>step-200`.
        """
        await self.start()
        gate = asyncio.Semaphore(self._in_flight)

        async def one(index: int, chat: Sequence[Mapping[str, str]]) -> tuple[str, str]:
            own_seed = None if seed is None else seed + index
            call = EngineCall(messages=chat, max_tokens=max_tokens, temperature=temperature, seed=own_seed)
            async with gate:
                answer, version = await self._ask_patiently(index, call)
                return answer.text, version

        tasks = [asyncio.create_task(one(index, chat)) for index, chat in enumerate(messages)]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def converse(
        self, chat: Sequence[Mapping[str, str]], max_tokens: int, temperature: float, seed: int | None = None
    ) -> tuple[EngineAnswer, str]:
        """The answer to one chat, with the version of the weights as in `answer`.

        Raises:
            EngineError: it failed `generate.attempts` times.
        """
        await self.start()
        return await self._ask_patiently(
            0, EngineCall(messages=chat, max_tokens=max_tokens, temperature=temperature, seed=seed)
        )

    async def write(self, assignment: Assignment, parents: Sequence[Written] = ()) -> Completion:
        """The answer to an assignment of the caller's own, which no curator leased; not held in the outbox.

        An engine that failed gives a completion with `finish_reason` error.
        """
        await self.start()
        return await self._complete(assignment, tuple(parents))

    async def load_weights(self, path: str, version: str) -> float:
        """Replace the weights in place; what is in flight goes on with the new ones. Returns the seconds it took.

        Args:
            path: folder or URI in Hugging Face format.
            version: of the weights, named in every answer from then on.

        Raises:
            EngineError: there is no model; the replica goes on with the old weights.
        """
        await self.start()
        self._loading, began = True, time.monotonic()
        try:
            async with asyncio.timeout(self._config.watch.engine_start_s):
                with contextlib.ExitStack() as stack:
                    await self._engine.load_weights(await _fetched(path, stack), version)
        except EngineDead as error:
            self._fail(error)
            raise
        finally:
            self._meter.progressed()
            self._loading = False
        return time.monotonic() - began

    def stats(self) -> dict[str, Any]:
        """Numbers for the live view and the summary."""
        meter = self._meter
        return {
            "name": self.name,
            "incarnation": self.incarnation,
            "version": self._engine.version,
            "ready": self._puller is not None or (self._started is not None and self._started.done()),
            "in_flight": meter.in_flight,
            "outbox": len(self._outbox),
            "answers": meter.answers,
            "errors": meter.errors,
            "output_tokens": meter.output_tokens,
            "tokens_per_s": meter.tokens_per_s(),
            "idle_ratio": meter.idle_ratio(),
            "last_progress_s": meter.last_progress_s(),
            "estimates": getattr(self._engine, "estimates", False),
        }

    async def stop(self) -> None:
        """Give up what is in flight and stop the engine."""
        self._stopped.set()
        tasks = [*self._running.values(), *([self._puller] if self._puller else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._engine.stop()

    async def _start(self) -> None:
        limit = self._config.watch.engine_start_s
        try:
            async with asyncio.timeout(limit):
                await self._engine.start()
        except TimeoutError:
            self._end(f"engine of {self.name} was not ready after {limit:g} s (watch.engine_start_s)")
            raise
        self._meter.ready()
        threading.Thread(target=self._watch, name="engine-watch", daemon=True).start()
        if self._lease is not None:
            self._puller = asyncio.create_task(self._pull(self._lease))
            self._puller.add_done_callback(self._ended)

    async def _pull(self, lease: Lease) -> None:
        pause, reached = WAIT_S[0], time.monotonic()
        while self._fault is None:
            room = min(self._in_flight - len(self._running), self._config.generate.slots - len(self._outbox))
            if room <= 0:
                await self._room_again()
                continue
            try:
                async with asyncio.timeout(LEASE_TIMEOUT_S):
                    assignments = await lease(room)
            except (TimeoutError, ConnectionError) as error:
                if time.monotonic() - reached > self._config.watch.stall_s:
                    raise CuratorLost(
                        f"{self.name}: the curator could not be reached for {self._config.watch.stall_s:g} s "
                        f"(watch.stall_s): {error}"
                    ) from error
                assignments = []
            else:
                reached = time.monotonic()
            for assignment in assignments:
                self._begin(assignment)
            pause = WAIT_S[0] if assignments else min(2 * pause, WAIT_S[1])
            await asyncio.sleep(GATHER_S if assignments else pause)

    async def _room_again(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(1.0):
                await self._changed.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_S)

    def _begin(self, assignment: Assignment) -> None:
        key = (assignment.request.id, assignment.request.attempt)
        if key in self._running:  # leased again because the first reply was lost
            return
        task = asyncio.create_task(self._work(assignment))
        self._running[key] = task
        task.add_done_callback(functools.partial(self._ended, key=key))

    def _ended(self, task: asyncio.Task[None], key: tuple[int, int] | None = None) -> None:
        if key is not None:
            del self._running[key]
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, EngineDead):
            self._end(f"engine of {self.name} is gone: {error}")
        self._fault = self._fault or error
        self._outbox.wake()

    async def _work(self, assignment: Assignment) -> None:
        parents = await self._parents(assignment)
        self._outbox.put(await self._complete(assignment, parents))

    async def _complete(self, assignment: Assignment, parents: tuple[Written, ...]) -> Completion:
        began = time.monotonic()
        prompt = render(assignment, parents, self._config.generate.prompts)
        call = call_for(assignment, parents, prompt, self._config)
        try:
            answer, version = await self._generate(call)
        except EngineError as error:
            answer = replace(error.spent or NOTHING, text=str(error)[:500], finish_reason="error")
            version = self._engine.version
        origin = self._config.teacher.generator, f"{version}/{self.name}.{self.incarnation}"
        return completion(assignment, prompt, answer, origin, time.monotonic() - began)

    async def _parents(self, assignment: Assignment) -> tuple[Written, ...]:
        if not assignment.parents:
            return ()
        assert self._text is not None, "assignments with parents need a text store"
        return tuple([await asyncio.to_thread(self._text, ref) for ref in assignment.parents])

    async def _generate(self, call: EngineCall) -> tuple[EngineAnswer, str]:
        """The answer, and the version of the weights that wrote it."""
        first = self._engine.version
        limit = self._config.generate.request_timeout_s
        self._meter.began()
        try:
            async with asyncio.timeout(limit):
                answer = await self._engine.generate(call)
        except TimeoutError:
            self._meter.failed(by_engine=self._remote)
            raise EngineError(f"no answer within {limit:g} s (generate.request_timeout_s)") from None
        except EngineError:
            self._meter.failed(by_engine=True)
            raise
        except EngineDead as error:
            self._fail(error)
            raise
        finally:
            self._meter.ended()
        self._meter.answered(answer.output_tokens)
        last = self._engine.version
        return answer, last if last == first else f"{first}>{last}"

    async def _ask_patiently(self, index: int, call: EngineCall) -> tuple[EngineAnswer, str]:
        for attempt in range(1, self._config.generate.attempts + 1):
            try:
                return await self._generate(call)
            except EngineError as error:
                if attempt == self._config.generate.attempts:
                    raise EngineError(f"chat {index} failed {attempt} times: {error}") from error
        raise AssertionError("generate.attempts is at least 1")

    def _watch(self) -> None:
        """Runs in a thread of its own, so that a blocked event loop is noticed too.

        A model behind an address may be slow or away for as long as each request may take: another process here would
        find it no better.
        """
        watch = self._config.watch
        hang_s = watch.hang_s + (self._config.generate.request_timeout_s if self._remote else 0.0)
        while not self._stopped.wait(min(1.0, watch.hang_s / 10)):
            limit = watch.engine_start_s if self._loading else hang_s
            if (silent := self._meter.silent_s()) > limit:
                reason = f"{self._meter.in_flight} requests in flight and no answer for {silent:.0f} s (watch.hang_s)"
                self._end(f"engine of {self.name} hangs: {reason}")
                return
