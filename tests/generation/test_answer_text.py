from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.generation.answer_text import MAX_ANSWER, boxed, final_answer, normalise, number, split

TEXT = st.text(st.characters(), max_size=120)
ANSWER_LIKE = st.text(st.sampled_from("0123456789.,;/^*()[]{}|+-=<>%$\\ xyzepifracsqrtboxed±²∪√"), max_size=60)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("2 + 2 = 4\nAnswer: 4", "4"),
        ("Answer: 3\nNo, wait.\nAnswer: 4\n", "4"),
        ("**Answer:** 4", "4"),
        ("### Final Answer: \\boxed{12x^{3}}", "12x^{3}"),
        ("The answer is 7", "7"),
        ("ANSWER:\n\n  4  \n", "4"),
        ("so \\boxed{1} and then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("so it is 18.\n#### 18", "18"),
        ("Answer: 8 each.\nThat makes 16.\n#### 16\n", "16"),
        ("Answer: 8\n#### Why?\nBecause.", "8"),
        ("#### Answer: 8", "8"),
        ("Answer: **8**.", "8"),
        ("Answer: 3; 5", "3; 5"),
        ("Answer:", None),
        ("\\boxed{1", None),
        ("there is no such line", None),
        ("", None),
    ],
)
def test_the_final_answer_is_found(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_blanks_behind_a_mark_are_read_once() -> None:
    began = time.perf_counter()
    assert final_answer("#### 1" + " " * 19_000 + "x\ny") is None
    assert time.perf_counter() - began < 0.2


def test_only_the_end_of_a_long_text_is_searched() -> None:
    assert final_answer("Answer: 1\n" + "x" * 10_000_000) is None
    assert final_answer("x" * 10_000_000 + "\nAnswer: 1") == "1"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12*x**3", "12 * x^3"),
        ("$\\frac{1}{2}$", "\\dfrac{1}{2}"),
        ("x²", "x^(2)"),
        ("\\(3 \\cdot 4\\)", "3×4"),
        ("1,234,567", "1234567"),
        ("(−1, 2)", "( -1,2 )"),
        ("\\text{Yes}.", "yes"),
        ("\\left( -\\infty , 3 \\right]", "(-∞,3]"),
        ("\\boxed{4}", "4"),
        ("45^{\\circ}", "45°"),
        ("x \\geq 2", "x≥2"),
    ],
)
def test_notations_of_one_answer_become_one(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(("one", "other"), [("1 1/2", "11/2"), ("1,23", "123"), ("(1,234)", "(1234)"), ("5!", "5")])
def test_different_answers_stay_different(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-3", Fraction(-3)),
        ("0.50", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        ("1 1/2", Fraction(3, 2)),
        ("-1 1/2", Fraction(-3, 2)),
        ("\\frac{-1}{2}", Fraction(-1, 2)),
        ("\\frac12", Fraction(1, 2)),
        ("1\\frac{1}{2}", Fraction(3, 2)),
        ("1/0", None),
        ("\\frac{1}{0}", None),
        ("x", None),
        ("", None),
        ("9" * 41, None),
        ("٣", Fraction(3)),
    ],
)
def test_plain_numbers_have_exact_values(text: str, value: Fraction | None) -> None:
    assert number(text) == value


def test_brackets_hold_parts_together() -> None:
    assert split("(1, 2), [3, 4]; {5, 6}", ",;") == ["(1, 2)", "[3, 4]", "{5, 6}"]
    assert split(",, ;", ",;") == []
    assert split(")))a,b(((", ",") == [")))a", "b((("]


@given(TEXT | ANSWER_LIKE)
def test_no_text_crashes_these_functions(text: str) -> None:
    final_answer(text)
    boxed(text)
    number(text)
    number(normalise(text))
    split(text, ";,")


@given(st.fractions(max_denominator=10**6).filter(lambda f: abs(f) < 10**12))
def test_a_number_survives_being_written(value: Fraction) -> None:
    assert number(normalise(str(value))) == value


def test_very_long_answers_are_left_alone() -> None:
    assert normalise(" " + "A" * MAX_ANSWER) == "A" * MAX_ANSWER
