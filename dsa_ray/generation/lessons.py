"""What prompts say of a subject's syllabus: its text, its class sessions, and what an exercise is to use of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dsa_ray.records import Assignment, Kind, Session, Textbook, Written

SYLLABUS_KINDS = frozenset({Kind.SESSIONS, Kind.CONCEPTS})
"""Kinds whose prompt holds the text of a syllabus, the one parent of the request."""


class LessonError(Exception):
    """An assignment whose syllabus is missing or is another one: a broken contract, in one line."""


def lessons(assignment: Assignment, parents: Sequence[Written]) -> dict[str, Any]:
    """Template values `syllabus` (text), `sessions` (all of the first skill), `chosen` (sessions of an exercise) and
    `concepts` (their key concepts that it is to use); each empty where the kind has none.

    Raises:
        LessonError: the request has no syllabus as parent, or names concepts that the skill does not have.
    """
    request, sessions = assignment.request, assignment.skills[0].sessions
    text = ""
    if request.kind in SYLLABUS_KINDS:
        if not parents or not isinstance(parents[0].item, Textbook):
            raise LessonError(f"{request.kind.value} needs the text of a syllabus as its parent")
        text = parents[0].item.text.strip()
    try:
        chosen = [sessions[place] for place in dict.fromkeys(session for session, _ in request.concepts)]
        concepts = [_line(sessions[session].concepts[concept]) for session, concept in request.concepts]
    except IndexError:
        raise LessonError("it names a concept that the syllabus of its skill does not have") from None
    return {
        "syllabus": text,
        "sessions": [_session(session) for session in sessions],
        "chosen": [_session(session) for session in chosen],
        "concepts": concepts,
    }


def _session(session: Session) -> dict[str, str]:
    return {
        "name": _line(session.name),
        "description": _line(session.description),
        "concepts": "; ".join(_line(concept) for concept in session.concepts),
    }


def _line(text: str) -> str:
    return " ".join(text.split())
