"""Teacher and student of scripted ladders, and the climber between them, as they run in processes of a cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dsa_ray.actors.named_replicas import NamedReplicas
from dsa_ray.engines.base import EngineAnswer, EngineCall
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.ladders.ladder import Shape
from dsa_ray.records import Completion, Exercise, Hint, Kind, Rejection, SkillBrief, Written
from dsa_ray.streams.climber import Answering, Basic, Climber
from tests.engines.scripted import ScriptedEngine

SHAPE = Shape(generalized=2, harder=2, refinements=2)
SECONDS = 0.05
"""An answer takes."""


def teacher_script(call: EngineCall) -> EngineAnswer:
    """Asks for the successor of the request's number, and hints at it."""
    request = call.assignment.request
    if request.kind is Kind.HINT:
        text = json.dumps({"hint": "Add one.", "right": False})
    else:
        question = f"What is {request.id} + 1? ({request.kind.value} {request.difficulty})"
        text = json.dumps({"question": question, "solution": "Add one.", "answer": str(request.id + 1)})
    return EngineAnswer(text=text, finish_reason="stop", output_tokens=9)


def knows(call: EngineCall) -> EngineAnswer:
    """A student that adds one, but needs a hint to do so for even numbers."""
    number = int(call.messages[0]["content"].split()[2])
    told = len(call.messages) > 1
    text = f"Answer: {number + 1 if told or number % 2 else 0}"
    return EngineAnswer(text=text, finish_reason="stop", output_tokens=5)


def teacher() -> ScriptedEngine:
    """For `teacher.factory`."""
    return ScriptedEngine(teacher_script, SECONDS)


def student() -> ScriptedEngine:
    """For `teacher.factory` of the student's replica."""
    return ScriptedEngine(knows, SECONDS)


def examine(completion: Completion) -> Written | Rejection:
    """Passes whatever was written."""
    if completion.finish_reason != "stop":
        return Rejection(request=completion.request, reason="engine")
    row = json.loads(completion.text)
    item = Hint(**row) if "hint" in row else Exercise(skills=completion.request.skills, **row)
    return Written(
        request=completion.request,
        item=item,
        generator=completion.generator,
        generator_version=completion.generator_version,
        prompt_version=completion.prompt_version,
        content_hash=completion.request.id,
    )


def basic(number: int) -> Basic:
    exercise = Exercise(skills=("a",), question=f"What is {number} + 1?", solution="s", answer=str(number + 1))
    return Basic(id=number, exercise=exercise, version="t@0", skills=(SkillBrief(id="a", name="A"),), difficulty=4)


def climber(teachers: Sequence[str], student: str) -> Climber:
    """What the stream makes climbers with."""
    return Climber(
        NamedReplicas(teachers, 60.0),
        NamedReplicas([student], 60.0),
        examine,
        AnswerChecker(2.0),
        SHAPE,
        Answering(max_tokens=16, seed=3),
    )
