"""A teacher that answers every kind of request by what the prompt says, with nonsense among it."""

from __future__ import annotations

import json

from dsa_ray.engines.base import EngineAnswer, EngineCall
from dsa_ray.records import Kind
from tests.engines.scripted import ScriptedEngine


def _listing(key: str, text: str, *names: str) -> str:
    return json.dumps({key: [{"name": name, text: f"about {name}"} for name in names]})


def answer(call: EngineCall) -> str:
    """The raw text for one call."""
    assert call.assignment is not None
    request, skill = call.assignment.request, call.assignment.skills[0]
    prompt = call.messages[-1]["content"]
    match request.kind:
        case Kind.FIELDS:
            return _listing("fields", "description", "Science", "science.", "🎉", "Trades")
        case Kind.SUBFIELDS:
            return "Here you are: " + _listing("subfields", "description", f"Pure {skill.name}", skill.name)
        case Kind.DISCIPLINES:
            return "```json\n" + _listing("disciplines", "description", f"{skill.name} studies") + "\n```"
        case Kind.SUBJECTS:
            return _listing("subjects", "about", f"Course {request.seed % 3}", "Course 0")
        case Kind.SYLLABUS:
            head = f"The syllabus of {skill.name} in {skill.part_of[0]}."
            return json.dumps({"text": f"{head} Session one: Counting. Session two: Measuring."})
        case Kind.SESSIONS:
            assert "Session one: Counting" in prompt
            return _listing("sessions", "description", "Counting", "Measuring", "counting")
        case Kind.CONCEPTS:
            assert "Session: Measuring" in prompt
            pairs = [("unit", "Measuring"), ("ruler", "Measuring"), ("number", "Counting"), ("tally", "counting")]
            return json.dumps({"concepts": [{"name": name, "session": session} for name, session in pairs]})
        case Kind.TEXTBOOK:
            return json.dumps({"text": f"{skill.name} is about numbers. " * 4})
        case _:
            number = request.id
            question = {"question": f"What is {number} + 1?", "solution": "Add one.", "answer": str(number + 1)}
            return json.dumps(question) if number % 7 else "no"


def taxonomy_writer() -> ScriptedEngine:
    """For `teacher.factory`."""
    return ScriptedEngine(lambda call: EngineAnswer(text=answer(call), finish_reason="stop", output_tokens=9))
