"""Ladders through replicas against the very same generations one by one: generations per second.

    python jobs/bench/ladders.py [--quick] [--ladders 512] [--at-once 64] [--pairs 3]

The built-in student, served by vLLM, climbs; the exact writers are its teacher. Everything that the ladders asked of
either is kept, and then asked again, each by itself, with as many under way as there were ladders: the teacher's texts
pass the examiner again, and the student's answers are marked. What a ladder adds is waiting: for the answer before the
next question. Both sides in turns, on a warm engine; the last ladders of a pair run out alone, so more cost less.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from _result import at_least, finish
from yoda import SHAPE, SKILLS, configuration, one

from dsa_ray.actors.replica import Replica, student_teacher
from dsa_ray.config import Config
from dsa_ray.embedded import shipped, syllabus
from dsa_ray.embedded.engine import ExactEngine
from dsa_ray.engines.base import EngineAnswer, build
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.ladders.judging import attempt
from dsa_ray.ladders.ladder import Ladder
from dsa_ray.records import Assignment, Completion, SkillBrief, Written
from dsa_ray.streams.climber import Answering, Basic, Climber

MAX_TOKENS = 64


class Kept:
    """Teacher and student, and everything that they were asked."""

    def __init__(self, teacher: Replica, student: Replica) -> None:
        self.teacher, self.student = teacher, student
        self.written: list[tuple[Assignment, Sequence[Written]]] = []
        self.asked: list[tuple[Any, ...]] = []

    async def write(self, assignment: Assignment, parents: Sequence[Written] = ()) -> Completion:
        self.written.append((assignment, parents))
        return await self.teacher.write(assignment, parents)

    async def converse(
        self, chat: Sequence[Mapping[str, str]], max_tokens: int, temperature: float, seed: int | None = None
    ) -> tuple[EngineAnswer, str]:
        self.asked.append((chat, max_tokens, temperature, seed))
        return await self.student.converse(chat, max_tokens, temperature, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one pair of 128 ladders")
    parser.add_argument("--ladders", type=int, default=512)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    if given.quick:
        given.ladders, given.pairs = 128, 1
    pairs = asyncio.run(measure(given.ladders, given.at_once, given.pairs))
    ratio = statistics.median(pair["ladders_per_s"] / pair["singles_per_s"] for pair in pairs)
    for pair in pairs:
        print("  " + "  ".join(f"{name} {value:,.1f}" for name, value in pair.items()))
    return finish("ladders", {"pairs": pairs}, {"ladders over single generations": at_least(ratio, 0.9)}, (), ("vllm",))


async def measure(ladders: int, at_once: int, pairs: int) -> list[dict[str, float]]:
    """Pairs of (ladders, the same generations one by one), in turns."""
    base = shipped.resolve("embedded:student")
    config = configuration(base)
    served = config.model_copy(update={"teacher": student_teacher(config)})
    engine = build(served.teacher, base, 0, concurrency=at_once)
    student = Replica("student", served, engine)
    await student.start()
    try:
        await climb(student, Random("warm"), 8, at_once, config, base)
        found = []
        for number in range(pairs):
            began = time.monotonic()
            kept = await climb(student, Random(f"pair-{number}"), ladders, at_once, config, base)
            climbed_s, began = time.monotonic() - began, time.monotonic()
            await singles(kept, at_once, config, base)
            single_s, count = time.monotonic() - began, len(kept.asked) + len(kept.written)
            rates = {"ladders_per_s": count / climbed_s, "singles_per_s": count / single_s}
            kinds = {"generations": float(count), "of_the_student": float(len(kept.asked))}
            found.append({**kinds, **{name: round(rate, 2) for name, rate in rates.items()}})
        return found
    finally:
        await student.stop()


async def climb(student: Replica, rng: Random, ladders: int, at_once: int, config: Config, base: str) -> Kept:
    """So many ladders; what was asked for them."""
    known, kept = syllabus.load(), Kept(Replica("teacher", config, ExactEngine()), student)
    basics = []
    for number in range(ladders):
        skill, difficulty = SKILLS[number % len(SKILLS)], 1 + number % 2
        brief = SkillBrief(id=skill, name=known.skill(skill).name)
        exercise = one(rng, skill, difficulty)
        basics.append(Basic(id=number + 1, exercise=exercise, version="exact", skills=(brief,), difficulty=difficulty))
    with AnswerChecker(config.evaluate.answer_timeout_s) as checker:
        climber = Climber(
            kept,
            kept,
            Examiner(config, StudentTokenizer(base), []).examine,
            checker,
            SHAPE,
            Answering(max_tokens=MAX_TOKENS, retry_temperature=0.7, seed=rng.randrange(2**31)),
        )
        over: list[Ladder] = []
        await climber.climb_all(basics, at_once, over.append)
        climber.close()
    return kept


async def singles(kept: Kept, at_once: int, config: Config, base: str) -> None:
    """The same generations, each by itself, in an order of their own; examined and marked like those of ladders."""
    places, examine = asyncio.Semaphore(at_once), Examiner(config, StudentTokenizer(base), []).examine
    exercise, loop = one(Random("marked"), SKILLS[0], 1), asyncio.get_running_loop()
    with AnswerChecker(config.evaluate.answer_timeout_s) as checker, ThreadPoolExecutor(1) as judges:

        async def text(call: tuple[Assignment, Sequence[Written]]) -> None:
            async with places:
                completion = await kept.teacher.write(*call)
                await loop.run_in_executor(judges, examine, completion)

        async def answer(call: tuple[Any, ...]) -> None:
            async with places:
                given, version = await kept.student.converse(*call)
                marked = functools.partial(attempt, exercise, given.text, given.finish_reason, version, checker)
                await loop.run_in_executor(judges, marked)

        calls = [*map(text, kept.written), *map(answer, kept.asked)]
        Random("order").shuffle(calls)
        await asyncio.gather(*calls)


if __name__ == "__main__":
    sys.exit(main())
