from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.evaluation.exam import ExamError, Question, grade, load_exam, score, wilson


class TextChecker:
    """Compares as text."""

    def same_many(self, pairs: Iterable[tuple[str, str]]) -> list[bool]:
        return [given == expected for given, expected in pairs]


def question(skill: str = "limits", answer: str = "4") -> Question:
    return Question(skill=skill, question="What is it?", answer=answer)


def write(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "exam.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_an_exam_is_read_line_by_line(tmp_path: Path) -> None:
    rows = [
        {"skill": "a", "question": "Q\u2028?", "answer": "1", "extra": 1},
        {"skill": "b", "question": "R", "answer": "2"},
    ]
    path = write(tmp_path, json.dumps(rows[0], ensure_ascii=False), "", json.dumps(rows[1]))
    assert [q.skill for q in load_exam(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "exam.jsonl:1: not JSON"),
        ("[1]", "exam.jsonl:1: must be an object"),
        ('{"skill": "a", "question": "b"}', "'answer' must be a text"),
        ('{"skill": "a", "question": " ", "answer": "1"}', "'question' must be a text"),
        ('{"skill": "a", "question": "b", "answer": 1}', "'answer' must be a text"),
        ("", "holds no question"),
    ],
)
def test_a_broken_exam_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ExamError, match=message):
        load_exam(write(tmp_path, line))


def test_a_missing_exam_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExamError, match=r"absent\.jsonl: cannot be read"):
        load_exam(tmp_path / "absent.jsonl")


def test_grading_looks_at_the_final_answer_alone() -> None:
    texts = ["2 + 2 = 4\nAnswer: 4", "Answer: 5", "no answer, though 4", ""]
    assert grade([question()] * 4, texts, TextChecker()) == [True, False, False, False]


def test_grading_refuses_another_number_of_answers() -> None:
    with pytest.raises(ValueError, match="1 questions, but 2 answers"):
        grade([question()], ["", ""], TextChecker())


def test_scores_are_grouped_by_skill_and_by_taught_or_elementary() -> None:
    questions = [question("b"), question("a"), question("b"), question("counting")]
    result = score(questions, [True, False, True, True], elementary=["counting"])
    assert (result.overall.right, result.overall.n) == (3, 4)
    assert (result.taught.right, result.taught.n) == (2, 3)
    assert (result.elementary.right, result.elementary.n) == (1, 1)
    assert list(result.per_skill) == ["a", "b", "counting"]
    assert result.as_dict()["per_skill"]["b"]["accuracy"] == 1.0
    json.dumps(result.as_dict())


def test_an_empty_sitting_knows_nothing() -> None:
    result = score([], [])
    assert (result.overall.accuracy, result.overall.low, result.overall.high) == (0.0, 0.0, 1.0)


def test_wilsons_interval_has_its_published_values() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_holds_the_share_and_stays_in_bounds(counts: tuple[int, int]) -> None:
    low, high = wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1
