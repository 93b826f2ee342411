"""An engine that follows a script, and the configuration and records that tests of replicas need."""

import asyncio
import os
import random
from collections.abc import Callable

from dsa_ray.config import Config, parse
from dsa_ray.embedded.engine import exact_writer
from dsa_ray.engines.base import EngineAnswer, EngineCall, TextEngine
from dsa_ray.records import Assignment, Completion, ExerciseRequest, Kind, SkillBrief


class ScriptedEngine:
    """Answers each call by `script(call)`, after `seconds`; counts what it sees."""

    def __init__(self, script: Callable[[EngineCall], EngineAnswer] | None = None, seconds: float = 0.0) -> None:
        self._script = script or (lambda call: EngineAnswer(text=str(call.seed), finish_reason="stop", output_tokens=7))
        self.seconds = seconds
        self.version = "0"
        self.now = self.most = 0
        self.calls: list[EngineCall] = []
        self.stopped = False

    async def start(self) -> None:
        return

    async def generate(self, call: EngineCall) -> EngineAnswer:
        self.calls.append(call)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.seconds)
            return self._script(call)
        finally:
            self.now -= 1

    async def load_weights(self, path: str, version: str) -> None:
        self.version = version

    async def stop(self) -> None:
        self.stopped = True


def exercise_writer() -> ScriptedEngine:
    """For `teacher.factory`: writes an exercise of its own for each request, in 5-30 ms."""

    def script(call: EngineCall) -> EngineAnswer:
        request = call.assignment.request
        text = f'{{"question": "What is {request.id} + 1?", "solution": "Add one.", "answer": "{request.id + 1}"}}'
        return EngineAnswer(text=text, finish_reason="stop", output_tokens=30)

    engine = ScriptedEngine(script)
    generate = engine.generate

    async def slowly(call: EngineCall) -> EngineAnswer:
        await asyncio.sleep(random.uniform(0.005, 0.03))
        return await generate(call)

    engine.generate = slowly
    return engine


def config(**sections: dict) -> Config:
    """A configuration with a scripted teacher; sections are merged over it."""
    data = {
        "run": {"name": "test"},
        "graph": {"target": "addition"},
        "teacher": {"kind": "python", "model": "scripted", "factory": "tests.engines.scripted:exercise_writer"},
        "generate": {"in_flight": 8, "slots": 32},
    }
    return parse({name: {**data.get(name, {}), **sections.get(name, {})} for name in {*data, *sections}})


def assignment(number: int, attempt: int = 0, kind: Kind = Kind.EXERCISE) -> Assignment:
    """A request for an exercise on addition."""
    return Assignment(
        request=ExerciseRequest(id=number, kind=kind, skills=("addition",), attempt=attempt, seed=number),
        skills=(SkillBrief(id="addition", name="Addition"),),
    )


def completion(number: int, text: str = "{}", finish_reason: str = "stop") -> Completion:
    """What a replica finished."""
    return Completion(
        request=assignment(number).request,
        text=text,
        finish_reason=finish_reason,
        generator="scripted",
        generator_version="0/teacher-0.0",
        prompt_version="exercise@00000000",
        output_tokens=7,
        seconds=0.1,
    )


BROKEN = "DSA_TEST_BROKEN"
"""Environment variable with a file that does not exist yet."""


def one_of_them_broken() -> TextEngine:
    """For `teacher.factory`: the exact writer, but the first process that makes it writes nothing that can be read."""
    inner = exact_writer()
    try:
        os.close(os.open(os.environ[BROKEN], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return inner

    async def garbage(call: EngineCall) -> EngineAnswer:
        await asyncio.sleep(0.02)
        return EngineAnswer(text="!" * 40, finish_reason="stop", output_tokens=40)

    inner.generate = garbage
    return inner
