from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.generation.parse import ParseFailure, find_object, parse
from dsa_ray.generation.repair import repaired
from dsa_ray.records import Kind

from .conftest import make_completion

GOOD = {"question": "What is {2} + [2]?", "solution": 'Say "four",\nthen stop.', "answer": "4"}
WHOLE = json.dumps(GOOD)


def read(text: str) -> dict[str, Any]:
    return find_object(text, "question", "solution", "answer")


@pytest.mark.parametrize(
    "text",
    [
        WHOLE[:-1] + ",}",
        WHOLE[:-1] + " ,\n }",
        WHOLE[:-1],
        WHOLE[:-1] + ",",
        WHOLE[:-1] + "\n```",
        "```json\n" + WHOLE[:-1] + ",\n```\n",
        f"Here it is:\n```json\n{WHOLE[:-1]},\n}}\n```\nGood luck, [learner]!",
    ],
)
def test_a_comma_too_many_and_a_bracket_too_few_are_put_right(text: str) -> None:
    assert read(text) == GOOD


def test_a_list_that_does_not_close_is_closed_with_its_object() -> None:
    text = '{"prerequisites": [{"name": "Limits", "description": "What it tends to."}, {"name": "Powers"},'
    found = find_object(text, "prerequisites")
    assert [entry["name"] for entry in found["prerequisites"]] == ["Limits", "Powers"]


def test_latex_with_single_backslashes_keeps_its_commands() -> None:
    text = r'{"question": "\frac{1}{2} + \sqrt{4}, \times 2?", "solution": "\alpha\beta", "answer": "\frac{9}{2}",}'
    item = parse(make_completion(text))
    assert item.question == r"\frac{1}{2} + \sqrt{4}, \times 2?"
    assert item.answer == r"\frac{9}{2}"


def test_a_real_newline_inside_a_string_is_kept() -> None:
    assert read('{"question": "One\ntwo?", "solution": "s", "answer": "a"}')["question"] == "One\ntwo?"


@pytest.mark.parametrize("cut", range(1, len(WHOLE) - 1))
def test_a_text_that_ends_inside_a_value_is_never_made_whole(cut: int) -> None:
    with pytest.raises(ParseFailure):
        read(WHOLE[:cut])


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        '{"a":' * 50_000,
        '{"' * 60_000,
        "{,}" * 60_000,
        '{"\\"' * 50_000,
        '{"question": "a",' + " " * 180_000 + "x",
        '{"a": 1' + ",\n" * 90_000 + "x",
    ],
)
def test_repair_takes_time_in_proportion_to_the_text(text: str) -> None:
    began = time.perf_counter()
    list(repaired(text))
    assert time.perf_counter() - began < 1.0


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=20), st.lists(st.text(max_size=5)))))
def test_what_is_right_is_left_alone(data: dict[str, Any]) -> None:
    text = json.dumps(data)
    assert [done for done, _ in repaired(text)] == []


@given(st.text(alphabet='{}[]",:\\ na1', max_size=60))
def test_no_text_breaks_the_repair(text: str) -> None:
    for _, version in repaired(text):
        assert len(version) <= 2 * len(text) + 2
    with pytest.raises(ParseFailure):
        parse(make_completion(text, Kind.TEXTBOOK))
