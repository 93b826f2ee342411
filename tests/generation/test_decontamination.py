from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.config import ConfigError, parse
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.decontamination import EvaluationIndex, EvaluationQuestion, load_questions
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Rejection, Written

from .conftest import make_completion

EGGS = "Anna's hens lay 12 eggs a day. She eats 2 and sells the rest for $3 each. How much does she earn in a week?"
SHORT = "What is 17 * 3?"
SETS = [EvaluationQuestion(EGGS, "eggs.jsonl", 4), EvaluationQuestion(SHORT, "short.jsonl", 1)]


@pytest.fixture(scope="module")
def index() -> EvaluationIndex:
    return EvaluationIndex(SETS)


def test_a_question_is_found_whatever_its_case_and_spacing(index: EvaluationIndex) -> None:
    for text in (EGGS, EGGS.upper(), "  ".join(EGGS.split(" ")), EGGS.replace(". ", ".\n\n")):
        match = index.find(text)
        assert match is not None
        assert (match.how, match.question.line) == ("exact", 4)


def test_a_question_with_another_name_is_found_by_its_grams(index: EvaluationIndex) -> None:
    match = index.find(EGGS.replace("Anna", "Peter").replace("She", "He").replace("she", "he"))
    assert match is not None
    assert match.how == "jaccard"
    assert 0.2 <= match.similarity < 1.0
    assert str(match).startswith("eggs.jsonl:4 (jaccard 0.")


def test_another_question_is_not_found(index: EvaluationIndex) -> None:
    assert index.find("How many eggs does Anna sell in a week if her hens lay 12 eggs a day?") is None
    assert index.find("") is None


def test_a_long_question_is_found_inside_a_longer_text_and_a_short_one_only_alone(index: EvaluationIndex) -> None:
    page = f"{'Multiplication is repeated addition. ' * 40} Example: {EGGS} First, 12 - 2 = 10. " + "And so on. " * 60
    match = index.find("A page.", [page])
    assert match is not None
    assert match.how == "contained"
    assert index.find(f"Someone may ask: {SHORT} The answer is 51.") is None
    assert index.find(SHORT.lower()) is not None


@given(st.text(max_size=300))
def test_no_text_breaks_the_index_and_every_question_finds_itself(text: str) -> None:
    own = EvaluationIndex([*SETS, EvaluationQuestion(text, "own.jsonl", 9)])
    match = own.find(text)
    assert match is not None or not any(c.isalnum() or c in "-+*/^=<>()|%−–×·⋅÷⁄_" for c in text)


def test_a_set_is_read_with_its_lines_and_faults_name_theirs(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(f"{json.dumps({'question': SHORT, 'answer': '51'})}\n\n{json.dumps({'question': EGGS})}\n")
    assert [(q.text, q.source, q.line) for q in load_questions(str(path))] == [
        (SHORT, "set.jsonl", 1),
        (EGGS, "set.jsonl", 3),
    ]
    for broken, told in (("{", "set.jsonl:1"), ('{"query": "x"}', "set.jsonl:1"), ("\n", "no question")):
        path.write_text(broken)
        with pytest.raises(ConfigError, match=told):
            load_questions(str(path))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_questions(str(tmp_path / "none.jsonl"))


def test_an_exercise_that_repeats_an_evaluation_question_is_rejected_and_the_item_named(
    tmp_path: Path, tokenizer_path: str
) -> None:
    path = tmp_path / "eggs.jsonl"
    path.write_text(json.dumps({"question": EGGS}))
    text = json.dumps({"question": EGGS.replace("Anna", "Bo"), "solution": "10 * 3 * 7", "answer": "210"})
    outcomes = []
    for switched in (True, False):
        generate = {"decontaminate": [str(path)], "checks": {"contaminated": switched}, "max_question_tokens": 400}
        config = parse(
            {"run": {"name": "r"}, "graph": {"target": "t"}, "generate": generate, "train": {"row_tokens": 400}}
        )
        examiner = Examiner(config, StudentTokenizer(tokenizer_path), held_out=[])
        outcomes.append(examiner.examine(make_completion(text)))
    refused, passed = outcomes
    assert isinstance(refused, Rejection)
    assert refused.reason == "contaminated"
    assert "eggs.jsonl:1 (jaccard" in refused.detail
    assert isinstance(passed, Written)
    assert "contaminated" not in dict(passed.checks)
