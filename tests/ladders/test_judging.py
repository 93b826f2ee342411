from __future__ import annotations

from collections.abc import Iterator

import pytest

from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.ladders.judging import MAX_TURN, attempt, checkable, gives_away

from .builders import exercise


@pytest.fixture(scope="module")
def checker() -> Iterator[AnswerChecker]:
    with AnswerChecker(2.0) as made:
        yield made


@pytest.mark.parametrize(
    ("text", "finish", "right", "fault"),
    [
        ("2+3=5\nAnswer: 5", "stop", True, ""),
        ("Answer: 10/2", "stop", True, ""),
        ("Answer: 6", "stop", False, ""),
        ("", "stop", False, "empty"),
        ("  \n", "length", False, "empty"),
        ("2+3=5, 2+3=5, " * 900, "length", False, "endless"),
        ("It is five I think", "stop", False, "no_answer"),
    ],
)
def test_an_answer_is_judged_and_a_student_that_says_nothing_or_talks_for_ever_is_wrong(
    checker: AnswerChecker, text: str, finish: str, right: bool, fault: str
) -> None:
    judged = attempt(exercise(), text, finish, "student@3", checker)
    assert (judged.right, judged.fault, judged.version) == (right, fault, "student@3")
    assert len(judged.text) <= MAX_TURN


def test_prose_is_left_to_the_teacher_unless_it_is_the_very_answer(checker: AnswerChecker) -> None:
    prose = exercise(answer="because a continuous function takes every value between")
    assert attempt(prose, "Answer: it jumps nowhere", "stop", "s", checker).right is None
    assert attempt(prose, f"Answer: {prose.answer}", "stop", "s", checker).right is True


@pytest.mark.parametrize(
    "answer", ["5", "x=9", "12x+5", "2x^2+C", "-42sin(6x)", "8(2x+3)^3; 29", "x=1; x=-4", "no limit"]
)
def test_numbers_expressions_and_a_few_words_can_be_checked(answer: str) -> None:
    assert checkable(answer)


@pytest.mark.parametrize(
    ("answer", "feedback"),
    [
        ("5", "So it comes to 5."),
        ("5", "Answer: 5"),
        ("x=9", "Divide: x = 9"),
        ("x=9", "36/4=9"),
        ("12x+5", "You should get 12x + 5, I think."),
        ("8(2x+3)^3; 29", "The second part is 29."),
        ("divergent", "The series is divergent!"),
    ],
)
def test_feedback_that_tells_the_answer_is_noticed(answer: str, feedback: str) -> None:
    assert gives_away(exercise("Find it.", answer), feedback)


@pytest.mark.parametrize(
    ("question", "answer", "feedback"),
    [
        ("What is 2+3?", "5", "Work out 2+3."),
        ("What is 2+3?", "5", "Not 15, nor 50, nor 5.5."),
        ("Compute 5-0.", "5", "Begin with the 5."),
        ("Find it.", "12x", "Not 112x, nor 12x^2."),
        ("Find it.", "18x-1", "2*9=18, then work out 2*2."),
        ("Find it.", "limit", "There are limits to it."),
    ],
)
def test_feedback_that_does_not_tell_it_passes(question: str, answer: str, feedback: str) -> None:
    assert not gives_away(exercise(question, answer), feedback)
