"""What the two small models read: rendered prompts with exact answers, and the student's elementary world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import Any

from dsa_ray.embedded import compose, syllabus
from dsa_ray.embedded.engine import wrong
from dsa_ray.embedded.families import Problem
from dsa_ray.embedded.recipe.drill import drill, sums
from dsa_ray.embedded.recipe.reading import reading
from dsa_ray.embedded.syllabus import SyllabusSkill
from dsa_ray.embedded.writers import exercise, write_text
from dsa_ray.generation.prompts import PARENTS, render, student_answer, student_messages
from dsa_ray.records import Assignment, Exercise, ExerciseRequest, Kind, SkillBrief, Written
from dsa_ray.skills.names import normalise

KIND_SHARES = {
    Kind.EXERCISE: 0.69,
    Kind.VARIANT: 0.05,
    Kind.COMPOSED: 0.05,
    Kind.HARDER: 0.05,
    Kind.PREREQUISITES: 0.12,
    Kind.TEXTBOOK: 0.04,
}
SKILL_COUNTS = {1: 0.72, 2: 0.24, 3: 0.04}
DIFFICULTIES = {1: 0.36, 2: 0.28, 3: 0.2, 4: 0.1, 5: 0.06}
ELEMENTARY_WEIGHT = 0.4
"""Weight of an elementary skill among the teacher's first examples; a taught one has 1."""
REVISION_ELEMENTARY_WEIGHT = 1.5
"""The same in its revision: a run asks for elementary exercises as replay, and a student forgets by their errors."""
REVISION_LESSON_SHARE = 0.25
SUMS_SHARE, REPLAY_SHARE = 0.08, 0.35
"""Of the teacher's last examples: lines of sums, and elementary exercises as a run asks for them, to be replayed."""
REPLAY_DIFFICULTIES = {1: 0.35, 2: 0.65}
TARGET_SHARE = 0.04
DRILL_SHARE = 0.1
LESSON_SHARE = 0.75
LESSON_EXAMPLES = 40_000
"""The teacher first learns to solve: the share of bare questions falls from `LESSON_SHARE` to nothing over so many."""
WRONG_PARENT_SHARE = 0.2

JSON_PIECES = (
    '{"question": "',
    '", "solution": "',
    '", "answer": "',
    '{"prerequisites": [',
    '{"name": "',
    '", "description": "',
    '"}, ',
    '"}]}',
    '"}',
    '{"text": "',
)
"""The constant text of the answers; one token each."""

UNKNOWN_WORDS = (
    "theory",
    "art",
    "study",
    "science",
    "practice",
    "methods",
    "problems",
    "questions",
    "world",
    "growth",
    "change",
    "movement",
    "speed",
    "nature",
    "money",
    "business",
    "physics",
    "engineering",
    "statistics",
    "numbers",
    "space",
    "time",
    "energy",
    "waves",
    "light",
    "planets",
    "weather",
    "machines",
    "music",
)
"""Words of target phrases that name no field: the teacher then takes all of calculus."""


@dataclass(frozen=True, slots=True)
class Example:
    """A chat prompt with its answer; with an empty prompt the answer is plain text, all of it carrying loss."""

    prompt: list[dict[str, str]]
    answer: str
    kind: str


def teacher_examples(rng: Random) -> Iterator[Example]:
    """Endless training of a teacher: bare questions and drills at first, then more and more of its prompts."""
    prompted = prompted_examples(rng)
    for number in count():
        draw = rng.random()
        if draw < DRILL_SHARE:
            yield Example([], drill(rng), "drill")
        elif draw < DRILL_SHARE + LESSON_SHARE * (1 - number / LESSON_EXAMPLES):
            yield _lesson(rng, ELEMENTARY_WEIGHT)
        else:
            yield next(prompted)


def revision_examples(rng: Random) -> Iterator[Example]:
    """Endless examples for the end of a teacher's training: its prompts with more of the elementary skills."""
    prompted = prompted_examples(rng, REVISION_ELEMENTARY_WEIGHT)
    while True:
        draw = rng.random()
        if draw < DRILL_SHARE:
            yield Example([], drill(rng), "drill")
        elif draw < DRILL_SHARE + REVISION_LESSON_SHARE:
            yield _lesson(rng, REVISION_ELEMENTARY_WEIGHT)
        else:
            yield next(prompted)


def replay_examples(rng: Random) -> Iterator[Example]:
    """Endless examples for the very end: replay as a run asks for it, among all that a teacher is asked.

    The mathematics check refuses what a teacher gets wrong, and what it gets wrong are the carries: without this the
    student meets few of them in its replay, and forgets how they go.
    """
    prompted = prompted_examples(rng, elementary=1.0)
    while True:
        draw = rng.random()
        if draw < SUMS_SHARE:
            yield Example([], sums(rng), "sums")
        elif draw < SUMS_SHARE + REPLAY_SHARE:
            yield _replay(rng)
        else:
            yield next(prompted)


def _replay(rng: Random) -> Example:
    skills = rng.sample(syllabus.load().elementary, _pick(rng, {1: 0.6, 2: 0.4}))
    request = ExerciseRequest(
        id=0,
        kind=Kind.EXERCISE,
        skills=tuple(skill.id for skill in skills),
        difficulty=_pick(rng, REPLAY_DIFFICULTIES),
        seed=rng.getrandbits(48),
    )
    assignment = Assignment(request=request, skills=tuple(_brief(rng, skill) for skill in skills))
    return Example(render(assignment, ()).messages, write_text(assignment, ()), "replay")


def _lesson(rng: Random, elementary: float) -> Example:
    """A bare question on some skills."""
    skills = [brief.id for brief in _briefs(rng, _pick(rng, SKILL_COUNTS), elementary)]
    return student_example(compose.exercise(rng, skills, _pick(rng, DIFFICULTIES)), "lesson")


def prompted_examples(rng: Random, elementary: float = ELEMENTARY_WEIGHT) -> Iterator[Example]:
    """Endless exact examples of all that the system asks a teacher; `elementary` weighs the elementary skills."""
    while True:
        kind = _pick(rng, KIND_SHARES)
        assignment = _assignment(rng, kind, elementary)
        parents = [_parent(rng, assignment.skills, number) for number in range(PARENTS.get(kind, 0))]
        yield Example(render(assignment, parents).messages, write_text(assignment, parents), kind.value)


def student_examples(rng: Random) -> Iterator[Example]:
    """Endless drills, elementary exercises, readings of expressions, and pages on taught skills without any answer."""
    known = syllabus.load()
    while True:
        draw = rng.random()
        if draw < 0.26:
            yield Example([], drill(rng), "drill")
        elif draw < 0.72:
            number = 1 if rng.random() < 0.85 else 2
            skills = [skill.id for skill in rng.sample(known.elementary, number)]
            yield student_example(compose.exercise(rng, skills, rng.choice((1, 1, 2, 2, 3))), "elementary")
        elif draw < 0.92:
            yield student_example(reading(rng), "reading")
        else:
            yield Example([], _page_without_answers(rng, rng.choice(known.taught)), "page")


TAUGHT_KINDS = (Kind.PREREQUISITES, Kind.TEXTBOOK, Kind.EXERCISE, Kind.VARIANT, Kind.COMPOSED, Kind.HARDER)
"""Kinds of request that the built-in teacher learns to answer."""


def student_example(problem: Problem, kind: str) -> Example:
    """A question as the student meets it, with the answer that it should give."""
    return Example(student_messages(problem.question), student_answer(problem.solution, problem.answer), kind)


def constant_texts() -> list[str]:
    """The lines of the rendered prompts that are the same whatever is asked."""
    rng = Random(0)
    constants: dict[str, None] = {}
    for kind in TAUGHT_KINDS:
        renders = []
        for _ in range(12):
            assignment = _assignment(rng, kind)
            parents = [_parent(rng, assignment.skills, number) for number in range(PARENTS.get(kind, 0))]
            renders.append([message["content"] for message in render(assignment, parents).messages])
        for contents in zip(*renders, strict=True):
            constants.update(dict.fromkeys(_shared(contents)))
    asked = [student_messages(f"{number}?")[0]["content"] for number in range(3)]
    constants.update(dict.fromkeys(_shared(asked)))
    return list(constants)


def _shared(texts: Sequence[str]) -> list[str]:
    """The whole text if all are the same, else the lines (with their ends) that all have."""
    if len(set(texts)) == 1:
        return [texts[0]]
    return [
        line for line in texts[0].splitlines(keepends=True) if len(line) > 1 and all(line in text for text in texts)
    ]


def _assignment(rng: Random, kind: Kind, elementary: float = ELEMENTARY_WEIGHT) -> Assignment:
    single = kind in (Kind.PREREQUISITES, Kind.TEXTBOOK)
    count = 1 if single else max(2, _pick(rng, SKILL_COUNTS)) if kind is Kind.COMPOSED else _pick(rng, SKILL_COUNTS)
    share = 4 * TARGET_SHARE if kind is Kind.PREREQUISITES else TARGET_SHARE
    briefs = [_target(rng)] if count == 1 and rng.random() < share else _briefs(rng, count, elementary)
    request = ExerciseRequest(
        id=0,
        kind=kind,
        skills=tuple(brief.id for brief in briefs),
        difficulty=_pick(rng, DIFFICULTIES),
        parents=tuple(range(PARENTS.get(kind, 0))),
        seed=rng.getrandbits(48),
    )
    return Assignment(request=request, skills=tuple(briefs))


def _briefs(rng: Random, count: int, elementary: float) -> list[SkillBrief]:
    known = syllabus.load().skills
    weights = [elementary if skill.elementary else 1.0 for skill in known]
    chosen: dict[str, SyllabusSkill] = {}
    while len(chosen) < count:
        skill = rng.choices(known, weights)[0]
        chosen[skill.id] = skill
    return [_brief(rng, skill) for skill in chosen.values()]


def _brief(rng: Random, skill: SyllabusSkill) -> SkillBrief:
    """The skill as a graph may hold it: mostly in the syllabus' words, sometimes in others."""
    name, description, needs = skill.name, skill.description, list(skill.needs)
    if rng.random() < 0.1:
        name = rng.choice(skill.aliases)
    if rng.random() < 0.1:
        name = rng.choice((name.lower(), name.title(), f"The {name.lower()}"))
    if rng.random() < 0.1:
        description = ""
    if rng.random() < 0.2:
        rng.shuffle(needs)
        needs = needs[: rng.randint(0, len(needs))]
    return SkillBrief(id=skill.id, name=name, description=description, prerequisites=tuple(needs))


def _target(rng: Random) -> SkillBrief:
    known = syllabus.load()
    if rng.random() < 0.5:
        phrase, _ = rng.choice(known.targets())
    else:
        words = rng.sample(UNKNOWN_WORDS, 2) if rng.random() < 0.5 else [_invented_word(rng), _invented_word(rng)]
        phrase = rng.choice(("{} of {}", "{} and {}", "the {} of {}", "{} {}")).format(*words)
    if rng.random() < 0.3:
        phrase = phrase.capitalize()
    return SkillBrief(id=normalise(phrase), name=phrase, prerequisites=known.field_of(phrase).needs)


def _invented_word(rng: Random) -> str:
    return "".join(rng.choice("bcdfglmnprst") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))


def _parent(rng: Random, briefs: Sequence[SkillBrief], number: int) -> Written:
    skill = briefs[number % len(briefs)]
    request = ExerciseRequest(
        id=number, kind=Kind.EXERCISE, skills=(skill.id,), difficulty=_pick(rng, DIFFICULTIES), seed=rng.getrandbits(48)
    )
    own = (skill,) if number or len(briefs) == 2 else briefs
    problem = exercise(rng, own, request.difficulty)
    if rng.random() < WRONG_PARENT_SHARE:
        problem = replace(problem, answer=wrong(rng, problem.answer))
    item = Exercise(skills=request.skills, question=problem.question, solution=problem.solution, answer=problem.answer)
    return Written(request=request, item=item, generator="", generator_version="", prompt_version="", content_hash=0)


def _page_without_answers(rng: Random, skill: SyllabusSkill) -> str:
    """Words and expressions of a taught skill: what it is called and what is asked, never how it comes out."""
    questions = [compose.exercise(rng, [skill.id], rng.choice((1, 2, 3))).question for _ in range(rng.randint(2, 4))]
    return f"{skill.name}. {skill.description}\nHomework: {' '.join(questions)}"


def _pick(rng: Random, shares: Mapping[Any, float]) -> Any:
    return rng.choices(list(shares), list(shares.values()))[0]
