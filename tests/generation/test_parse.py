from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.generation.parse import MAX_CHARACTERS, ParseFailure, clean, parse
from dsa_ray.generation.schemas import MAX_NAME, MAX_PREREQUISITES, MAX_QUESTION
from dsa_ray.records import Critique, Exercise, Hint, Kind, Prerequisites, Textbook

from .conftest import make_completion

GOOD = {"question": "What is 2 + 2?", "solution": "2 + 2 = 4", "answer": "4"}
KINDS = st.sampled_from(list(Kind))
ANY_TEXT = st.text(st.characters(), max_size=300)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELD_NAMES = ["question", "solution", "answer", "text", "prerequisites"]


def exercise(text: str) -> Exercise:
    item = parse(make_completion(text))
    assert isinstance(item, Exercise)
    return item


def failure(text: str, kind: Kind = Kind.EXERCISE) -> str:
    with pytest.raises(ParseFailure) as raised:
        parse(make_completion(text, kind))
    assert len(raised.value.detail) <= 200
    return raised.value.reason


@pytest.mark.parametrize(
    "form",
    [
        "%s",
        "```json\n%s\n```",
        "Sure! Here is one {as asked}:\n%s\nI hope that it helps {you}.",
        "[%s]",
        '{"note": "an object of another kind"} %s',
        "\x00\x07 %s \x1b[0m",
    ],
)
def test_the_object_is_found_wherever_it_stands(form: str) -> None:
    assert exercise(form % json.dumps(GOOD)) == Exercise(skills=("chain-rule",), **GOOD)


def test_a_textbook_keeps_its_paragraphs() -> None:
    item = parse(make_completion(json.dumps({"text": "One.\r\n\r\nTwo.\x00"}), Kind.TEXTBOOK))
    assert item == Textbook(skill="chain-rule", text="One.\n\nTwo.")


def test_raw_line_breaks_inside_strings_are_accepted() -> None:
    assert exercise('{"question": "What\nis it?", "solution": "a\nb", "answer": "4"}').solution == "a\nb"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"\(x\) and \sqrt{2}", r"\(x\) and \sqrt{2}"),
        (r"\frac{1}{2} \times \theta", r"\frac{1}{2} \times \theta"),
        (r"\\frac{1}{2}", r"\frac{1}{2}"),
        (r"\beta \right)", r"\beta \right)"),
        (r"a\\(b\) \" c", r'a\(b\) " c'),
    ],
)
def test_latex_that_was_not_escaped_survives(written: str, meant: str) -> None:
    text = f'{{"question": "Q {written}", "solution": "s", "answer": "a"}}'
    assert exercise(text).question == f"Q {meant}"


def test_numbers_and_lists_are_read_as_the_answer() -> None:
    assert exercise(json.dumps({**GOOD, "answer": 4.50})).answer == "4.5"
    assert exercise(json.dumps({**GOOD, "answer": ["3", "5"]})).answer == "3; 5"
    assert exercise(json.dumps({**GOOD, "solution": ["a", "b"]})).solution == "a\nb"


def test_the_answer_line_is_taken_out_of_the_solution_and_the_label_off_the_answer() -> None:
    item = exercise(json.dumps({**GOOD, "solution": "2 + 2 = 4\n**Answer:** 4", "answer": "Answer: 4"}))
    assert (item.solution, item.answer) == ("2 + 2 = 4", "4")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "schema"),
        ("no JSON at all", "schema"),
        ("{" * 100_000, "schema"),
        ('{"a":' * 30_000, "schema"),
        ("[" * 100_000, "schema"),
        ('{"question": ' + "[" * 50_000 + "]" * 50_000 + "}", "schema"),
        (json.dumps({**GOOD, "answer": None}), "schema"),
        (json.dumps({**GOOD, "question": 5}), "schema"),
        (json.dumps({**GOOD, "question": ["a"]}), "schema"),
        (json.dumps({**GOOD, "solution": {}}), "schema"),
        (json.dumps({**GOOD, "answer": []}), "schema"),
        (json.dumps({**GOOD, "answer": float("nan")}), "schema"),
        (json.dumps({**GOOD, "question": "The question"}), "schema"),
        (json.dumps({"question": "Q", "solution": "S"}), "schema"),
        ('{"question": "a", "question": "b", "solution": "c", "answer": "d"}', "schema"),
        (json.dumps({**GOOD, "question": " \n\x00 "}), "empty"),
        (json.dumps({**GOOD, "solution": "Answer: 4"}), "empty"),
        (json.dumps({**GOOD, "answer": "Answer:"}), "empty"),
        (json.dumps({**GOOD, "question": "a" * (MAX_QUESTION + 1)}), "length"),
        ('{"question": "q", "solution": "s", "answer": 1' + "0" * 10_000 + "}", "length"),
        (" " * (MAX_CHARACTERS + 1), "length"),
    ],
)
def test_what_cannot_be_used_fails_with_a_reason(text: str, reason: str) -> None:
    assert failure(text) == reason


def test_lone_surrogates_are_replaced() -> None:
    question = exercise('{"question": "a \\ud800 b", "solution": "s", "answer": "c"}').question
    assert question.encode("utf-8")


def test_prerequisites_keep_order_and_lose_what_is_unusable() -> None:
    entries = [
        {"name": "Limits", "description": "Of\nfunctions."},
        "Algebra",
        {"name": ""},
        {"name": "x" * 999},
        5,
        None,
    ]
    item = parse(make_completion(json.dumps({"prerequisites": entries}), Kind.PREREQUISITES))
    assert item == Prerequisites(skill="chain-rule", names=(("Limits", "Of functions."), ("Algebra", "")))


def test_prerequisites_may_be_none_and_are_bounded() -> None:
    assert parse(make_completion('{"prerequisites": []}', Kind.PREREQUISITES)).names == ()  # type: ignore[union-attr]
    many = json.dumps({"prerequisites": [{"name": f"skill {i}"} for i in range(500)]})
    assert len(parse(make_completion(many, Kind.PREREQUISITES)).names) == MAX_PREREQUISITES  # type: ignore[union-attr]
    assert failure('{"prerequisites": [1, 2]}', Kind.PREREQUISITES) == "schema"
    assert failure('{"prerequisites": "Limits"}', Kind.PREREQUISITES) == "schema"


def check_outcome(text: str, kind: Kind) -> None:
    try:
        item = parse(replace(make_completion(text, kind), question="What is 1 + 1?"))
    except ParseFailure:
        return
    if isinstance(item, Critique):
        assert 1 <= item.score <= 5
        return
    if isinstance(item, Prerequisites):
        assert all(0 < len(name) <= MAX_NAME and "\n" not in name for name, _ in item.names)
        return
    for text in (item.text,) if isinstance(item, Textbook) else (item.question, item.solution, item.answer):
        assert text
        assert text == clean(text)
        text.encode("utf-8")


def test_an_answer_takes_its_question_from_the_request() -> None:
    text = json.dumps({"solution": "2 + 2 = 4", "answer": "4", "question": "Another?"})
    item = parse(make_completion(text, Kind.ANSWER, question="What is 2 + 2?"))
    assert item == Exercise(skills=("chain-rule",), question="What is 2 + 2?", solution="2 + 2 = 4", answer="4")


@pytest.mark.parametrize("score", [0, 6, "x", None, 2.5, True, [3]])
def test_a_critique_needs_a_score_that_exists(score: object) -> None:
    good = json.dumps({"critique": "Nothing.", "score": 4})
    assert parse(make_completion(good, Kind.CRITIQUE)) == Critique(critique="Nothing.", score=4)
    text = json.dumps({"critique": "Nothing.", "score": score})
    with pytest.raises(ParseFailure):
        parse(make_completion(text, Kind.CRITIQUE))


@given(ANY_TEXT, KINDS)
def test_no_text_crashes_the_parser(text: str, kind: Kind) -> None:
    check_outcome(text, kind)


@given(JSON, KINDS)
def test_no_json_crashes_the_parser(value: object, kind: Kind) -> None:
    check_outcome(json.dumps(value), kind)


@given(st.dictionaries(st.sampled_from(FIELD_NAMES), JSON | ANY_TEXT, min_size=1), KINDS, ANY_TEXT)
def test_no_value_of_a_field_crashes_the_parser(value: dict[str, object], kind: Kind, around: str) -> None:
    check_outcome(around + json.dumps(value) + around, kind)


@given(st.text(st.sampled_from('{}[]":,\\ \nu0dfrac"question"answer'), max_size=200), KINDS)
def test_no_broken_json_crashes_the_parser(text: str, kind: Kind) -> None:
    check_outcome(text, kind)
    check_outcome('{"text": "' + text, kind)


def test_a_hint_says_whether_the_answer_is_right() -> None:
    for said, right in ((True, True), (False, False), ("yes", True), ("No", False)):
        item = parse(make_completion(json.dumps({"hint": "Look at the sign.", "right": said}), Kind.HINT))
        assert item == Hint(hint="Look at the sign.", right=right)
    assert failure(json.dumps({"hint": "Look.", "right": "perhaps"}), Kind.HINT) == "schema"
    assert failure(json.dumps({"hint": "what to look at", "right": True}), Kind.HINT) == "schema"
    assert failure(json.dumps({"hint": "", "right": True}), Kind.HINT) == "empty"
