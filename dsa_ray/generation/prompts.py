"""Prompts for the teacher and for the student, from Jinja templates.

A teacher template `<kind>.j2` has two blocks, `system` and `user`. The constant text is the same in every call of a
kind; the variable fields are short, each on lines of its own. Template values are data: text that a model wrote is
inserted, never interpreted. A folder of your own may replace any of the templates; those that it lacks are ours
(`own_templates` looks at it before anything starts). A template of somebody else's reaches neither files outside these
folders nor Python's own objects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dsa_ray.generation.lessons import SYLLABUS_KINDS, LessonError, lessons
from dsa_ray.generation.schemas import schema
from dsa_ray.records import Assignment, Exercise, Kind, SkillBrief, Written

TEMPLATES = Path(__file__).parent / "templates"
DIFFICULTIES = ("very easy", "easy", "medium", "hard", "very hard")
LONG_KINDS = frozenset(
    {Kind.TEXTBOOK, Kind.FIELDS, Kind.SUBFIELDS, Kind.DISCIPLINES, Kind.SUBJECTS} | {Kind.SYLLABUS, *SYLLABUS_KINDS}
)
"""Kinds whose answers may take `generate.max_textbook_tokens`."""
PARENTS = {
    Kind.VARIANT: 1,
    Kind.COMPOSED: 2,
    Kind.HARDER: 1,
    Kind.EASIER: 1,
    Kind.ANSWER: 1,
    Kind.CRITIQUE: 1,
    Kind.GENERALIZED: 1,
    Kind.HINT: 1,
}

OF_LESSONS = frozenset({"syllabus", "sessions", "chosen", "concepts"})
VALUES = OF_LESSONS | {"skill", "skills", "skill_names", "difficulty", "parents", "attempt", "found_wrong", "told"}
"""What a teacher's template is rendered with."""
STUDENT_VALUES = {"student.j2": frozenset({"question"}), "refine.j2": frozenset({"hint"})}
"""What the others are rendered with."""


class PromptError(Exception):
    """An assignment or a template that cannot make a prompt: a broken contract, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What an engine is asked.

    Example:
        Prompt(messages=[{"role": "system", ...}, {"role": "user", ...}], schema={...},
               version="exercise@3f9a1c20", max_tokens_kind="other")
    """

    messages: list[dict[str, str]]
    """Chat messages with `role` and `content`."""
    schema: dict[str, Any]
    """JSON schema of the answer."""
    version: str
    """Template name and the first 8 hex digits of its content's hash."""
    max_tokens_kind: str
    """`textbook` or `other`: which bound of the configuration holds for the answer."""
    question: str = ""
    """Where an answer is asked for: the question."""


def render(assignment: Assignment, parents: Sequence[Written], templates: str | None = None) -> Prompt:
    """The prompt of an assignment.

    Args:
        assignment: the leased request with its skills.
        parents: the texts of `assignment.request.parents`, in that order.
        templates: a folder whose templates go before the built-in ones.

    Raises:
        PromptError: no skill, a parent missing or not an exercise, or a template that does not render.
    """
    kind = assignment.request.kind
    if not assignment.skills:
        raise PromptError(f"request {assignment.request.id}: an assignment needs at least one skill")
    try:
        values = _values(assignment, parents)
    except LessonError as error:
        raise PromptError(f"request {assignment.request.id}: {error}") from None
    name = "class_exercise.j2" if assignment.request.concepts else f"{kind.value}.j2"
    template, version = _template(name, templates)
    messages = [{"role": role, "content": _block(template, role, values)} for role in ("system", "user")]
    return Prompt(
        messages=messages,
        schema=schema(kind),
        version=version,
        max_tokens_kind="textbook" if kind in LONG_KINDS else "other",
        question=values["parents"][0]["question"] if kind is Kind.ANSWER else "",
    )


def student_messages(
    question: str, solution: str | None = None, answer: str | None = None, templates: str | None = None
) -> list[dict[str, str]]:
    """How a question is put to the student, in training and in the exam alike.

    Returns the user message alone, or, with a solution or an answer, the assistant's message too, whose last line
    is "Answer: ...".
    """
    template, _ = _template("student.j2", templates)
    messages = [{"role": "user", "content": _rendered(template, {"question": question.strip()})}]
    if solution is not None or answer is not None:
        messages.append({"role": "assistant", "content": student_answer(solution, answer)})
    return messages


def dialogue_messages(
    question: str, attempts: Sequence[str], hints: Sequence[str], templates: str | None = None
) -> list[dict[str, str]]:
    """A question with what the student answered to it and was told each time, as it is put to the student again.

    Args:
        attempts: its answers, oldest first.
        hints: what it was told after each of them; as many as there are answers, for a further answer, or one less.

    Returns:
        user and assistant messages in turn, beginning with the question.
    """
    if len(attempts) - len(hints) not in (0, 1):
        raise ValueError(f"{len(attempts)} answers do not go with {len(hints)} hints")
    template, _ = _template("refine.j2", templates)
    messages = student_messages(question, templates=templates)
    for number, attempt in enumerate(attempts):
        messages.append({"role": "assistant", "content": attempt.strip()})
        if number < len(hints):
            messages.append({"role": "user", "content": _rendered(template, {"hint": hints[number].strip()})})
    return messages


def student_answer(solution: str | None, answer: str | None) -> str:
    """The text that the student is taught to write: the solution, then the line "Answer: ..."."""
    lines = [(solution or "").strip()] if (solution or "").strip() else []
    if answer is not None:
        lines.append(f"Answer: {answer.strip()}")
    return "\n".join(lines)


def version(name: str, templates: str | None = None) -> str:
    """Template name (a kind, `student` or a file's name) and content hash, as stored with every written item."""
    return _template(f"{name.removesuffix('.j2')}.j2", templates)[1]


def difficulty_words(difficulty: int) -> str:
    """E.g. "2 of 5 (easy)"; values outside 1..5 are taken as the nearest."""
    bounded = min(max(difficulty, 1), len(DIFFICULTIES))
    return f"{bounded} of {len(DIFFICULTIES)} ({DIFFICULTIES[bounded - 1]})"


def _values(assignment: Assignment, parents: Sequence[Written]) -> dict[str, Any]:
    skills = [_skill(brief) for brief in assignment.skills]
    return {
        **lessons(assignment, parents),
        "skill": skills[0],
        "skills": skills,
        "skill_names": "; ".join(skill["name"] for skill in skills),
        "difficulty": difficulty_words(assignment.request.difficulty),
        "parents": _parents(assignment, parents),
        "attempt": assignment.attempts[-1].strip() if assignment.attempts else "",
        "found_wrong": assignment.found_wrong,
        "told": "; ".join(_line(hint) for hint in assignment.hints),
    }


def _skill(brief: SkillBrief) -> dict[str, str]:
    return {
        "name": _line(brief.name),
        "description": _line(brief.description),
        "prerequisites": "; ".join(_line(name) for name in brief.prerequisites),
        "part_of": "; ".join(_line(name) for name in brief.part_of),
    }


def _parents(assignment: Assignment, parents: Sequence[Written]) -> list[dict[str, str]]:
    request = assignment.request
    needed = PARENTS.get(request.kind, 0)
    if len(parents) < needed:
        raise PromptError(f"request {request.id}: {request.kind.value} needs {needed} parent texts, not {len(parents)}")
    for parent in parents[:needed]:
        if not isinstance(parent.item, Exercise):
            raise PromptError(f"request {request.id}: parent {parent.request.id} is not an exercise")
    return [
        {"question": item.question.strip(), "solution": item.solution.strip(), "answer": item.answer.strip()}
        for item in (parent.item for parent in parents[:needed])
        if isinstance(item, Exercise)
    ]


def _line(text: str) -> str:
    """One line, so that a name cannot pass for a further field."""
    return " ".join(text.split())


@lru_cache(maxsize=16)
def environment(templates: str | None) -> Environment:
    """What reads and renders the templates of a folder, and the built-in ones that it lacks."""
    folders = [TEMPLATES] if templates is None else [Path(templates), TEMPLATES]
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        auto_reload=False,
    )


@lru_cache(maxsize=128)
def _template(name: str, templates: str | None) -> tuple[Template, str]:
    if templates is not None and not Path(templates).is_dir():
        raise PromptError(f"{templates}: not a folder; give the folder that holds your templates")
    source, _ = source_of(name, templates)
    try:
        template = environment(templates).get_template(name)
    except TemplateError as error:
        raise PromptError(told(name, error)) from None
    digest = hashlib.blake2b(source.encode(), digest_size=4).hexdigest()
    return template, f"{name.removesuffix('.j2')}@{digest}"


def source_of(name: str, templates: str | None) -> tuple[str, str]:
    """The text of a template, and its file. Raises `PromptError`."""
    jinja = environment(templates)
    try:
        source, where, _ = jinja.loader.get_source(jinja, name)  # type: ignore[union-attr]
    except (TemplateError, UnicodeDecodeError) as error:
        raise PromptError(told(name, error)) from None
    return source, where or name


def told(where: str, error: Exception) -> str:
    """What is wrong with a template, in one line: the file, the line where it is known, and the error."""
    line, text = None, str(error)
    if isinstance(error, TemplateSyntaxError):
        where, line, text = error.filename or error.name or where, error.lineno, error.message or text
    for frame, number in walk_tb(error.__traceback__):
        template = frame.f_globals.get("__jinja_template__")
        if template is not None:
            where, line = template.filename, template.get_corresponding_lineno(number)
    place = f"{where} line {line}" if line else where
    return f"template {place}: {type(error).__name__}: {' '.join(text.split())}"


def _block(template: Template, role: str, values: Mapping[str, Any]) -> str:
    if role not in template.blocks:
        raise PromptError(f"template {template.filename}: has no block {role!r}")
    try:
        text = "".join(template.blocks[role](_context(template, values)))
    except Exception as error:  # a template is a program: whatever it raises is a fault of its own
        raise PromptError(told(str(template.name), error)) from None
    return text.strip()


def _context(template: Template, values: Mapping[str, Any]) -> Context:
    """What a template sees. Its own way to add the globals is most of the time that a short template takes."""
    return template.new_context({**template.environment.globals, **values}, shared=True)


def _rendered(template: Template, values: Mapping[str, Any]) -> str:
    try:
        return "".join(template.root_render_func(_context(template, values))).strip()
    except Exception as error:  # a template is a program: whatever it raises is a fault of its own
        raise PromptError(told(str(template.name), error)) from None
