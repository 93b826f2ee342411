"""Exact writers: what a perfect teacher answers to any assignment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from dsa_ray.embedded import compose, hints, syllabus
from dsa_ray.embedded.families import Problem
from dsa_ray.embedded.syllabus import SyllabusSkill
from dsa_ray.generation.answer_text import final_answer
from dsa_ray.records import REVIEW_KINDS, Assignment, Exercise, Kind, SkillBrief, Written

EXAMPLES = 3
HOMEWORK = 2


def write(assignment: Assignment, parents: Sequence[Written] = ()) -> dict[str, Any]:
    """The JSON-ready answer: the keys that the prompt of this kind asks for. The same for the same request seed.

    A child exercise (variant, composed, harder) is a fresh one of the same skills: right whatever its parents say.

    Args:
        assignment: the request with its skills. A skill outside the syllabus is served by its prerequisites.
        parents: the texts of the request's parents; they are context only.
    """
    request = assignment.request
    rng = Random(f"{request.seed}-{request.id}-{request.attempt}")
    if request.kind is Kind.PREREQUISITES:
        return {"prerequisites": prerequisites(assignment.skills[0])}
    if request.kind is Kind.TEXTBOOK:
        return {"text": textbook(rng, assignment.skills[0])}
    if request.kind in REVIEW_KINDS:
        return _review(request.kind, parents[0])
    if request.kind is Kind.HINT:
        return _hint(assignment, parents[0])
    problem = exercise(rng, assignment.skills, request.difficulty)
    return {"question": problem.question, "solution": problem.solution, "answer": problem.answer}


def _review(kind: Kind, parent: Written) -> dict[str, Any]:
    """The right answer to a question that an exact writer wrote, or a judgement of the answer that it has."""
    if not isinstance(parent.item, Exercise):
        raise ValueError(f"item {parent.request.id} is no exercise, so it has no answer")
    right = compose.solve(parent.item.question)
    if kind is Kind.ANSWER:
        return {"solution": f"The result is {right}.", "answer": right}
    wrong = right != parent.item.answer
    return {"critique": f"The answer is {right}." if wrong else "Nothing is wrong.", "score": 1 if wrong else 5}


def _hint(assignment: Assignment, parent: Written) -> dict[str, Any]:
    """The next of the exact solution's steps, and whether the student's last answer is the exact one."""
    if not isinstance(parent.item, Exercise):
        raise ValueError(f"item {parent.request.id} is no exercise, so there is no hint to it")
    steps, right = hints.steps_of(parent.item.question), compose.solve(parent.item.question)
    given = final_answer(assignment.attempts[-1]) if assignment.attempts else None
    hint = hints.hint(steps or [parent.item.solution], len(assignment.hints))
    return {"hint": hint, "right": given is not None and given == (right or parent.item.answer)}


def write_text(assignment: Assignment, parents: Sequence[Written] = ()) -> str:
    """The answer as an engine gives it: one JSON object."""
    return json.dumps(write(assignment, parents))


def prerequisites(brief: SkillBrief) -> list[dict[str, str]]:
    """Name and description of each skill needed directly before this one; empty for an elementary skill."""
    known = syllabus.load()
    skill = known.find(brief.name)
    names = skill.needs if skill else known.field_of(brief.name).needs
    return [{"name": needed.name, "description": needed.description} for needed in map(_known, names)]


def exercise(rng: Random, briefs: Sequence[SkillBrief], difficulty: int) -> Problem:
    """An exercise of all these skills."""
    return compose.exercise(rng, [practised(rng, brief).id for brief in briefs], min(max(difficulty, 1), 5))


def practised(rng: Random, brief: SkillBrief) -> SyllabusSkill:
    """The syllabus skill that exercises of this skill practise: itself, or one of those below a field's name."""
    known = syllabus.load()
    skill = known.find(brief.name)
    if skill:
        return skill
    below = [found for found in map(known.find, brief.prerequisites) if found]
    return rng.choice(below or [_known(name) for name in known.field_of(brief.name).needs])


def textbook(rng: Random, brief: SkillBrief) -> str:
    """A page: what the skill is, what it builds on, its rule, worked examples, homework."""
    skill = practised(rng, brief)
    links = _listed(brief.prerequisites or skill.needs)
    opening = f"{brief.name}. {brief.description or skill.description}"
    basis = f"It builds on {links}." if links else "It needs nothing before it."
    lines = [f"{opening} {basis}", f"Key concept: {skill.rule}"]
    for number in range(1, EXAMPLES + 1):
        problem = compose.exercise(rng, [skill.id], min(number, 3))
        lines.append(f"Example {number}: {problem.question}\n{problem.solution}\nAnswer: {problem.answer}")
    homework = [compose.exercise(rng, [skill.id], 1 + number % 2) for number in range(HOMEWORK)]
    lines.append("Homework: " + " ".join(problem.question for problem in homework))
    lines.append("Answers: " + "; ".join(problem.answer for problem in homework))
    return "\n".join(lines)


def _known(name: str) -> SyllabusSkill:
    skill = syllabus.load().find(name)
    if skill is None:
        raise ValueError(f"syllabus.yaml: {name!r} is needed by a skill but not described")
    return skill


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
