"""Natural problems and answers that nobody here wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsa_ray.evaluation.exam import Question, grade, score
from dsa_ray.generation.answers import AnswerChecker, final_answer
from dsa_ray.generation.prompts import student_answer
from dsa_ray.generation.words import SpanIndex

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not (DATA / "gsm8k_test.jsonl").exists(), reason="needs GSM8K's files in ../shared/data beside the repository"
)


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(scope="module")
def checker() -> Iterator[AnswerChecker]:
    with AnswerChecker(timeout_s=3.0) as checker:
        yield checker


def exam(count: int) -> tuple[list[Question], list[str]]:
    solved = [(row["question"], *row["answer"].rsplit("####", 1)) for row in rows("gsm8k_test.jsonl")[:count]]
    questions = [Question(skill="arithmetic", question=q, answer=final.strip()) for q, _, final in solved]
    return questions, [re.sub(r"<<[^>]*>>", "", steps).strip() for _, steps, _ in solved]


def test_every_final_answer_is_found_and_equals_itself(checker: AnswerChecker) -> None:
    for row in rows("gsm8k_train.jsonl") + rows("gsm8k_test.jsonl"):
        answer = final_answer(row["answer"])
        assert answer is not None
        assert answer == row["answer"].rsplit("####", 1)[1].strip()
        assert checker.same(answer, answer)


def test_a_thousand_solutions_are_graded_right_in_any_common_dress(checker: AnswerChecker) -> None:
    questions, steps = exam(1000)
    dresses = ("{}", "${}", "\\boxed{{{}}}", "{}.00", "{} apples", "**{}**.", "x = {}")
    texts = [
        student_answer(text, dresses[number % len(dresses)].format(question.answer))
        for number, (question, text) in enumerate(zip(questions, steps, strict=True))
    ]
    right = grade(questions, texts, checker)
    assert [q.answer for q, ok in zip(questions, right, strict=True) if not ok] == []
    assert score(questions, right).overall.accuracy == 1.0


def test_a_thousand_answers_of_the_next_question_are_graded_wrong_unless_equal(checker: AnswerChecker) -> None:
    questions, steps = exam(1000)
    shifted = [*questions[1:], questions[0]]
    right = grade(questions, [student_answer(s, q.answer) for s, q in zip(steps, shifted, strict=True)], checker)
    equal = [
        float(q.answer.replace(",", "")) == float(other.answer.replace(",", ""))
        for q, other in zip(questions, shifted, strict=True)
    ]
    assert right == equal


def test_few_training_problems_hold_a_test_problem() -> None:
    index = SpanIndex(row["question"] for row in rows("gsm8k_test.jsonl"))
    found = [row for row in rows("gsm8k_train.jsonl") if index.find(row["question"] + "\n" + row["answer"])]
    assert len(found) <= 5
    again = rows("gsm8k_test.jsonl")[:50]
    assert all(index.find(f"Solve this. {row['question'].upper()} Thank you.") for row in again)
