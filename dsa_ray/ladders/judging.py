"""Whether a student's answer is right, and whether a teacher's feedback gives the answer away."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from dsa_ray.generation.answer_text import canonical, final_answer, normalise, number
from dsa_ray.generation.expressions import NotAnExpression, read
from dsa_ray.ladders.ladder import Attempt
from dsa_ray.records import Exercise

MAX_TURN = 4_000
"""Longest text of a turn that is kept, characters."""
_PROSE = 4
"""An expected answer of so many words that is no expression cannot be compared: the teacher has to judge."""
_TOKENS = re.compile(r"\w+|[^\w\s]")
_FREE = {"", "x"}
"""Answers that every text on the subject holds."""


class Checker(Protocol):
    """What judging needs of `generation.answers.AnswerChecker`."""

    def same_many(self, pairs: Iterable[tuple[str, str]]) -> list[bool]: ...


def attempt(exercise: Exercise, text: str, finish_reason: str, version: str, checker: Checker) -> Attempt:
    """A student's text as a turn, judged where a checker can tell.

    A text that is empty, that was cut off before it came to an answer, or that names none, is wrong; `fault` says so.
    """
    text = text.strip()[:MAX_TURN]
    final = final_answer(text)
    if final is None:
        fault = "empty" if not text else "endless" if finish_reason == "length" else "no_answer"
        return Attempt(text=text, version=version, right=False, fault=fault)
    right = checker.same_many([(final, exercise.answer)])[0]
    return Attempt(text=text, version=version, right=None if not right and not checkable(exercise.answer) else right)


def checkable(answer: str) -> bool:
    """Whether an answer that differs from this one is wrong for certain: a number, an expression or a few words."""
    text = normalise(answer)
    if len(text.split()) < _PROSE or number(text) is not None:
        return True
    try:
        read(text)
    except NotAnExpression:
        return all(part.strip() and len(part.split()) < _PROSE for part in re.split(r"[;,=]", text))
    return True


def gives_away(exercise: Exercise, feedback: str) -> bool:
    """Whether feedback tells the final answer, or one of several, where the question does not hold it already.

    Numbers and words are found as such: 12 is not told by 120. What a question itself shows cannot be given away.
    """
    shown, told = _Pieces(exercise.question), _Pieces(feedback)
    final = final_answer(feedback)
    if final is not None and canonical(final) == canonical(exercise.answer):
        return True
    parts = [part for part in normalise(exercise.answer).split(";") if part.strip() not in _FREE]
    return any(told.hold(part) and not shown.hold(part) for part in parts)


class _Pieces:
    """A text, to be searched for answers, however they are spaced."""

    def __init__(self, text: str) -> None:
        self._text = " ".join(normalise(line) for line in text.splitlines())

    def hold(self, answer: str) -> bool:
        """Whether the answer stands in the text, not as part of a longer number, word or term."""
        _, sign, value = answer.rpartition("=")
        candidates = {answer, value} if sign else {answer}
        return any(self._holds(candidate.strip()) for candidate in candidates if candidate.strip())

    def _holds(self, answer: str) -> bool:
        before = r"(?<![\w.^])" if answer[0].isalnum() else ""
        after = r"(?![\w^]|\.\d)" if answer[-1].isalnum() else ""
        spaced = r"\s*".join(map(re.escape, _TOKENS.findall(answer)))
        return re.search(before + spaced + after, self._text) is not None
