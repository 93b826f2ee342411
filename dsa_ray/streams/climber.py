"""Ladders on their way: each asks teacher and student whatever it waits for, and none waits for another.

    ladder  -> asks       one task each; those of one ladder run side by side where its stages allow it
    teacher <- question, hint     examined like any other text before it counts
    student <- answer             judged; one that was under way while weights were swapped is asked for again
    ladder  <- reply

The class knows nothing of Ray: teacher and student are replicas in this process, or handles of replicas elsewhere that
have the same two methods. A ladder's state is its own, so a replica that dies costs the answers under way and no more.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from dsa_ray.engines.base import EngineAnswer, EngineError
from dsa_ray.generation.prompts import dialogue_messages
from dsa_ray.ladders import judging
from dsa_ray.ladders.ladder import Ask, Attempt, Feedback, Ladder, Posed, Reply, Shape, Stage, Task, difficulty_of
from dsa_ray.records import (
    Assignment,
    Completion,
    Exercise,
    ExerciseRequest,
    Hint,
    Kind,
    Rejection,
    SkillBrief,
    Written,
)

T = TypeVar("T")

_KINDS = {Stage.GENERALIZED: Kind.GENERALIZED, Stage.HARDER: Kind.HARDER}
MIXED_TRIES = 4
"""An answer that was under way while weights were swapped is asked for again, so often in all."""
_MIXED = ">"
"""In the version of a text that two versions of the weights wrote."""


class Teacher(Protocol):
    """What a ladder needs of a teacher's replica."""

    async def write(self, assignment: Assignment, parents: Sequence[Written] = ()) -> Completion: ...


class Student(Protocol):
    """What a ladder needs of a student's replica."""

    async def converse(
        self, chat: Sequence[Mapping[str, str]], max_tokens: int, temperature: float, seed: int | None = None
    ) -> tuple[EngineAnswer, str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """Where a ladder starts."""

    id: int
    """Unique among ladders; the requests of its rungs have the ids from `id * ROOM` on."""
    exercise: Exercise
    version: str
    """Who wrote it."""
    skills: tuple[SkillBrief, ...]
    difficulty: int = 1

    @classmethod
    def of(cls, written: Written, skills: Sequence[SkillBrief]) -> Basic:
        """A written exercise; `skills` are those of its request."""
        assert isinstance(written.item, Exercise)
        return cls(
            id=written.request.id,
            exercise=written.item,
            version=f"{written.generator}@{written.generator_version}",
            skills=tuple(skills),
            difficulty=written.request.difficulty,
        )


ROOM = 1000
"""Request ids of one ladder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """How the student is asked."""

    max_tokens: int = 96
    temperature: float = 0.0
    """Of the first answer to a question; 0 = greedy."""
    retry_temperature: float = 0.7
    """Of further ones, so that they are not the same again."""
    prompts: str | None = None
    """Folder of the user's own templates."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Way:
    """One ladder with where it started."""

    ladder: Ladder
    basic: Basic


class Climber:
    """Takes ladders to their end.

    Args:
        teacher: writes questions and hints.
        student: answers.
        examine: passes or rejects what the teacher wrote (`generation.checks.Examiner.examine`).
        checker: compares final answers (`generation.answers.AnswerChecker`).
        shape: of every ladder.
        answering: how the student is asked.
    """

    def __init__(
        self,
        teacher: Teacher,
        student: Student,
        examine: Callable[[Completion], Written | Rejection],
        checker: judging.Checker,
        shape: Shape,
        answering: Answering,
    ) -> None:
        self._teacher, self._student, self._examine, self._checker = teacher, student, examine, checker
        self._shape, self._answering = shape, answering
        self._judges = ThreadPoolExecutor(1, thread_name_prefix="judge")
        self.counts: Counter[str] = Counter()
        """Of the ladders that are over (`Ladder.counts`), what was asked again (`mixed`, `student_failed`,
        `rejected.<reason>`), and what teachers took (`teacher_input_tokens`, `teacher_output_tokens`)."""

    async def climb(self, basic: Basic, ladder: Ladder | None = None) -> Ladder:
        """Take one ladder to its end; `ladder` is one that was left on its way."""
        ladder = ladder or Ladder.start(basic.id, Posed(exercise=basic.exercise, version=basic.version), self._shape)
        way = _Way(ladder, basic)
        running: dict[asyncio.Task[Reply], Ask] = {}
        try:
            while asks := ladder.asks():
                for ask in asks:
                    if ask not in running.values():
                        running[asyncio.create_task(self._reply(way, ask))] = ask
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    ladder.take(running.pop(task), task.result())
        finally:
            for task in running:
                task.cancel()
        self.counts.update(ladder.counts())
        return ladder

    async def climb_all(self, basics: Iterable[Basic], at_once: int, over: Callable[[Ladder], None]) -> None:
        """Take many ladders to their ends, `at_once` at a time; `over` gets each as it ends."""
        places = asyncio.Semaphore(at_once)

        async def one(basic: Basic) -> None:
            try:
                over(await self.climb(basic))
            finally:
                places.release()

        async with asyncio.TaskGroup() as group:
            for basic in basics:
                await places.acquire()
                group.create_task(one(basic))

    def close(self) -> None:
        """End the thread that judges."""
        self._judges.shutdown(wait=False, cancel_futures=True)

    async def _reply(self, way: _Way, ask: Ask) -> Reply:
        if ask.task is Task.ANSWER:
            return await self._answer(way, ask)
        written = await self._written(way, ask)
        if written is None:
            return None
        version = f"{written.generator}@{written.generator_version}"
        if isinstance(written.item, Exercise):
            return Posed(exercise=written.item, version=version)
        assert isinstance(written.item, Hint)
        exercise = way.ladder.rungs[ask.rung].posed.exercise
        away = await self._judge(judging.gives_away, exercise, written.item.hint)
        return Feedback(text=written.item.hint, version=version, right=written.item.right, gives_away=away)

    async def _answer(self, way: _Way, ask: Ask) -> Attempt | None:
        rung, how = way.ladder.rungs[ask.rung], self._answering
        answers, hints = [attempt.text for attempt in rung.attempts], [hint.text for hint in rung.feedback]
        chat = dialogue_messages(rung.posed.exercise.question, answers, hints, how.prompts)
        temperature = how.retry_temperature if ask.turn or ask.attempt else how.temperature
        for _ in range(MIXED_TRIES):
            try:
                answer, version = await self._student.converse(
                    chat, how.max_tokens, temperature, _seed(how.seed, way.basic.id, ask)
                )
            except EngineError:
                self.counts["student_failed"] += 1
                return None
            if _MIXED not in version:
                break
            self.counts["mixed"] += 1
        else:
            return None
        exercise = rung.posed.exercise
        return await self._judge(judging.attempt, exercise, answer.text, answer.finish_reason, version, self._checker)

    async def _written(self, way: _Way, ask: Ask) -> Written | None:
        assignment, parent = self._order(way, ask)
        completion = await self._teacher.write(assignment, (parent,))
        self.counts["teacher_input_tokens"] += completion.input_tokens
        self.counts["teacher_output_tokens"] += completion.output_tokens
        result = await self._judge(self._examine, completion)
        if isinstance(result, Written):
            return result
        self.counts[f"rejected.{result.reason}"] += 1
        return None

    def _order(self, way: _Way, ask: Ask) -> tuple[Assignment, Written]:
        """What the teacher is asked, and the text that it is about."""
        ladder, basic = way.ladder, way.basic
        rung = ladder.rungs[ask.rung]
        hint = ask.task is Task.HINT
        about = rung.posed if hint else ladder.parent_of(ask.rung)
        request = ExerciseRequest(
            id=basic.id * ROOM + ask.rung,
            kind=Kind.HINT if hint else _KINDS[rung.stage],
            skills=tuple(skill.id for skill in basic.skills),
            difficulty=difficulty_of(basic.difficulty, rung.stage, rung.level),
            attempt=ask.attempt,
            seed=_seed(self._answering.seed, basic.id, ask),
        )
        told = {
            "attempts": tuple(attempt.text for attempt in rung.attempts),
            "hints": tuple(feedback.text for feedback in rung.feedback),
            "found_wrong": hint and rung.attempts[-1].right is False,
        }
        return Assignment(request=request, skills=basic.skills, **(told if hint else {})), _text(request, about)

    async def _judge(self, function: Callable[..., T], *values: Any) -> T:
        """In a thread of its own, one at a time: comparing answers may take seconds."""
        return await asyncio.get_running_loop().run_in_executor(self._judges, functools.partial(function, *values))


def _text(request: ExerciseRequest, posed: Posed) -> Written:
    """A question as a parent's text."""
    return Written(
        request=request,
        item=posed.exercise,
        generator="",
        generator_version=posed.version,
        prompt_version="",
        content_hash=0,
    )


def _seed(seed: int, ladder: int, ask: Ask) -> int:
    text = f"{seed}/{ladder}/{ask.rung}/{ask.task.value}/{ask.turn}/{ask.attempt}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")
