"""The exam that a student sits before and after: questions by skill, grading, and scores with intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dsa_ray.generation.answers import final_answer

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


class ExamError(Exception):
    """An exam file that cannot be used: one line with file, line number and fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One exam question.

    Example:
        Question(skill="chain-rule", question="Differentiate (2x+1)^3.", answer="6(2x+1)^2")
    """

    skill: str
    """Id of the skill that it examines."""
    question: str
    answer: str
    """The expected final answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How many of `n` questions were right, with Wilson's 95 % interval for the accuracy."""

    n: int
    right: int
    accuracy: float
    """right / n; 0 where n = 0."""
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamScore:
    """The scores of one sitting."""

    overall: Score
    taught: Score
    """Questions on skills that the run teaches."""
    elementary: Score
    """Questions on skills that count as known."""
    per_skill: dict[str, Score]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `summary.json`."""
        return {
            "overall": _plain(self.overall),
            "taught": _plain(self.taught),
            "elementary": _plain(self.elementary),
            "per_skill": {skill: _plain(score) for skill, score in self.per_skill.items()},
        }


class Checker(Protocol):
    """What grading needs of `generation.answers.AnswerChecker`."""

    def same_many(self, pairs: Iterable[tuple[str, str]]) -> list[bool]: ...


def load_exam(path: str | Path) -> list[Question]:
    """Read a JSONL file with `skill`, `question` and `answer` per line; blank lines are skipped.

    Raises:
        ExamError: unreadable, not JSON, a key missing or empty, or no question at all.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExamError(f"{path}: cannot be read ({error})") from None
    lines = enumerate(text.split("\n"), start=1)
    questions = [_question(line, f"{path}:{number}") for number, line in lines if line.strip()]
    if not questions:
        raise ExamError(f"{path}: holds no question")
    return questions


def grade(questions: Sequence[Question], answers: Sequence[str], checker: Checker) -> list[bool]:
    """Whether each of the student's texts ends in the expected answer.

    Args:
        questions: the exam.
        answers: what the student wrote to each, whole texts; a text without a final answer is wrong.
        checker: compares final answers.
    """
    if len(questions) != len(answers):
        raise ValueError(f"{len(questions)} questions, but {len(answers)} answers")
    finals = [final_answer(text) for text in answers]
    pairs = [(final, q.answer) for final, q in zip(finals, questions, strict=True) if final is not None]
    same = iter(checker.same_many(pairs))
    return [final is not None and next(same) for final in finals]


def score(questions: Sequence[Question], right: Sequence[bool], elementary: Iterable[str] = ()) -> ExamScore:
    """Scores of one sitting, overall, for taught and for elementary skills, and for each skill in order of its id.

    Args:
        questions: the exam.
        right: what `grade` found.
        elementary: ids of skills that are not taught.
    """
    known = frozenset(elementary)
    graded = list(zip((q.skill for q in questions), right, strict=True))
    return ExamScore(
        overall=_score([ok for _, ok in graded]),
        taught=_score([ok for skill, ok in graded if skill not in known]),
        elementary=_score([ok for skill, ok in graded if skill in known]),
        per_skill={
            skill: _score([ok for other, ok in graded if other == skill]) for skill in sorted({s for s, _ in graded})
        },
    )


def wilson(right: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's interval for a proportion; (0, 1) where n = 0."""
    if n == 0:
        return 0.0, 1.0
    share, square = right / n, z * z
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _score(right: Sequence[bool]) -> Score:
    low, high = wilson(sum(right), len(right))
    return Score(n=len(right), right=sum(right), accuracy=sum(right) / len(right) if right else 0.0, low=low, high=high)


def _plain(score: Score) -> dict[str, float]:
    return {"n": score.n, "right": score.right, "accuracy": score.accuracy, "low": score.low, "high": score.high}


def _question(line: str, where: str) -> Question:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ExamError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ExamError(f"{where}: must be an object with skill, question and answer")
    for key in ("skill", "question", "answer"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise ExamError(f"{where}: {key!r} must be a text that is not empty")
    return Question(skill=row["skill"], question=row["question"], answer=row["answer"])
