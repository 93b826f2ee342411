from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.config import ConfigError, parse
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.mathematics import wrong_equation
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Exercise, Rejection, Textbook, Written

from .conftest import make_completion


@pytest.mark.parametrize(
    "text",
    [
        "First 3 + 4 = 7, then 7 * 2 = 14.",
        "She pays $1,200 - $200.50 = $999.50 in all.",
        "10 / 3 = 3.33 and 2^3 * (1 + 1) = 16",
        "2 + 2 * 3 = 2 + 6 = 8",
        "16 − 3 − 4 = <<16-3-4=9>>9 eggs",
        "x + 3 = 8, so x = 5",
        "2x + 3 = 9 and 3 * x = 9",
        "5 apples - 2 = 3 apples, 100 cm + 1 m = 2 m",
        "f(2) = 3 + 4 = 7",
        "20% of 50 = 10 and 5 * 20% = 1",
        "At 9:00 + 2 = 11 it closes.",
        "9**9**9**9 = 1, 1/0 = 5",
        "",
    ],
)
def test_what_holds_or_cannot_be_told_passes(text: str) -> None:
    assert wrong_equation(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("First 3 + 4 = 8.", "3 + 4 = 8"),
        ("So 2 * 3 = 6 + 1 = 8.", "2 * 3 = 6 + 1"),
        ("Then $12 * 5 = $61 in all", "$12 * 5 = $61"),
        ("10 / 3 = 3.43", "10 / 3 = 3.43"),
        ("f(2) = 3 + 4 = 8", "3 + 4 = 8"),
    ],
)
def test_an_equation_that_does_not_hold_is_named(text: str, found: str) -> None:
    assert wrong_equation(text) == found


@given(st.text(alphabet="0123456789+-*/^()=., $%x·\n", max_size=200))
def test_no_text_breaks_the_check(text: str) -> None:
    wrong_equation(text)


@pytest.mark.parametrize(
    "text",
    ["1+" * 2000, "(" * 4000, "1=" * 2000, "((1)" * 1000, "1 + 1 = " * 500, "9^" * 2000, "1,000" * 800, "-" * 4000],
)
def test_the_check_is_quick_on_any_solution(text: str) -> None:
    began = time.perf_counter()
    wrong_equation(text)
    assert time.perf_counter() - began < 1.0


def no_cats(item: Textbook | Exercise) -> str | None:
    """A check such as a user writes."""
    if isinstance(item, Exercise) and "zebra" in item.question:
        raise ValueError("no zebra please")
    return "there is a cat" if isinstance(item, Exercise) and "cat" in item.question else None


def examine(tokenizer_path: str, checks: dict, **fields: str) -> Written | Rejection:
    config = parse({"run": {"name": "r"}, "graph": {"target": "t"}, "generate": {"checks": checks}})
    examiner = Examiner(config, StudentTokenizer(tokenizer_path), held_out=[])
    try:
        text = json.dumps({"question": "What is 2 + 2?", "solution": "Count.", "answer": "4", **fields})
        return examiner.examine(make_completion(text))
    finally:
        examiner.close()


def test_wrong_arithmetic_and_another_final_answer_are_rejected_when_the_check_is_on(tokenizer_path: str) -> None:
    for fields in ({"solution": "2 + 2 = 5"}, {"solution": "It is \\boxed{\\frac{8}{3}}."}):
        assert isinstance(examine(tokenizer_path, {}, **fields), Written)
        rejected = examine(tokenizer_path, {"mathematics": True}, **fields)
        assert isinstance(rejected, Rejection)
        assert rejected.reason == "mathematics"
    passed = examine(tokenizer_path, {"mathematics": True}, solution="2 + 2 = \\boxed{\\frac{8}{2}}")
    assert isinstance(passed, Written)
    assert ("mathematics", "ok") in passed.checks


def test_a_users_own_check_rejects_with_its_words(tokenizer_path: str) -> None:
    path = f"{__name__}:no_cats"
    rejected = examine(tokenizer_path, {"user": [path]}, question="How many cats?")
    assert isinstance(rejected, Rejection)
    assert (rejected.reason, rejected.detail) == ("user", f"{path}: there is a cat")
    broken = examine(tokenizer_path, {"user": [path]}, question="How many zebras?")
    assert isinstance(broken, Rejection)
    assert "ValueError" in broken.detail
    passed = examine(tokenizer_path, {"user": [path]})
    assert isinstance(passed, Written)
    assert (f"user:{path}", "ok") in passed.checks


@pytest.mark.parametrize("path", ["nowhere.at_all:check", "json:nothing", "json", "json:__doc__"])
def test_a_users_check_that_is_not_there_is_a_broken_configuration(tokenizer_path: str, path: str) -> None:
    with pytest.raises(ConfigError, match=r"generate\.checks\.user"):
        examine(tokenizer_path, {"user": [path]})


def test_every_check_can_be_switched_off(tokenizer_path: str) -> None:
    off = dict.fromkeys(("length", "language", "refusal", "contaminated", "duplicate"), False)
    passed = examine(tokenizer_path, off, question="?", solution="I cannot help with that. " + "!" * 60)
    assert isinstance(passed, Written)
    assert [name for name, _ in passed.checks] == ["engine", "truncated", "schema", "too_long"]
