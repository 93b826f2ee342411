from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.config import Config, parse
from dsa_ray.generation.checks import REASONS, Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.generation.words import content_hash
from dsa_ray.records import Exercise, Kind, Prerequisites, Rejection, Textbook, Written
from dsa_ray.storage.texts import numbers, written_row

from .conftest import make_completion, make_request

GOOD = {"question": "What is 2 + 2?", "solution": "2 + 2 = 4", "answer": "4"}


def config(max_question_tokens: int = 300) -> Config:
    return parse(
        {
            "run": {"name": "r"},
            "graph": {"target": "t"},
            "generate": {"max_question_tokens": max_question_tokens},
        }
    )


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: str) -> StudentTokenizer:
    return StudentTokenizer(tokenizer_path)


@pytest.fixture
def examiner(tokenizer: StudentTokenizer) -> Examiner:
    return Examiner(config(), tokenizer, held_out=["What is 3 + 3?"])


def text_of(**fields: Any) -> str:
    return json.dumps({**GOOD, **fields})


def reason(examiner: Examiner, text: str, **fields: Any) -> str:
    outcome = examiner.examine(make_completion(text, **fields))
    assert isinstance(outcome, Rejection), outcome
    assert outcome.reason in REASONS
    assert len(outcome.detail) <= 200
    return outcome.reason


def accepted(examiner: Examiner, text: str, kind: Kind = Kind.EXERCISE, **fields: Any) -> Written:
    outcome = examiner.examine(make_completion(text, kind, **fields))
    assert isinstance(outcome, Written), outcome
    return outcome


def test_a_good_exercise_is_accepted_with_tokens_hashes_and_lineage(
    examiner: Examiner, tokenizer: StudentTokenizer
) -> None:
    written = accepted(examiner, text_of())
    assert written.item == Exercise(skills=("chain-rule",), **GOOD)
    assert (written.input_ids, written.prompt_tokens) == tokenizer.encode_exercise(*GOOD.values())
    assert written.content_hash == content_hash(GOOD["question"])
    assert written.answer_hash != 0
    assert (written.generator, written.generator_version, written.output_tokens) == ("teacher", "0/a", 5)
    assert all(result == "ok" for _, result in written.checks)
    assert {"schema", "contaminated", "too_long", "duplicate"} <= {name for name, _ in written.checks}


def test_equal_answers_in_another_notation_have_one_hash(examiner: Examiner) -> None:
    first = accepted(examiner, text_of(question="What is x*x?", answer="x**2"), id=1)
    second = accepted(examiner, text_of(question="What is x times x?", answer="$x^2$"), id=2)
    assert first.answer_hash == second.answer_hash


def test_a_textbook_carries_loss_on_all_its_tokens(examiner: Examiner) -> None:
    written = accepted(examiner, json.dumps({"text": "The chain rule. " * 4}), Kind.TEXTBOOK)
    assert isinstance(written.item, Textbook)
    assert (written.prompt_tokens, written.answer_hash) == (0, 0)


def test_prerequisites_have_no_tokens_and_are_never_duplicates(examiner: Examiner) -> None:
    text = json.dumps({"prerequisites": [{"name": "Limits", "description": ""}]})
    for number in (1, 2):
        written = accepted(examiner, text, Kind.PREREQUISITES, id=number)
        assert isinstance(written.item, Prerequisites)
        assert written.input_ids == ()


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("connection reset", {"finish_reason": "error"}, "engine"),
        (text_of(), {"finish_reason": "abort"}, "engine"),
        (text_of(), {"finish_reason": "length"}, "truncated"),
        ("I am no JSON", {}, "schema"),
        (text_of(question=""), {}, "empty"),
        (text_of(question="?"), {}, "length"),
        (text_of(solution="I'm sorry, but I cannot help with that."), {}, "refusal"),
        (text_of(solution="As an AI language model I have no opinion."), {}, "refusal"),
        (text_of(solution="I can’t assist with this."), {}, "refusal"),
        (text_of(question="两个数的和是多少请计算出来", solution="答案是四"), {}, "language"),
        (text_of(solution="no no no " * 30), {}, "language"),
        (text_of(solution="!" * 60), {}, "language"),
        (text_of(question="what IS 3+3 ?"), {}, "contaminated"),
        (text_of(solution="First ask: what is 3 + 3? It is 6."), {}, "contaminated"),
        (text_of(solution="a b c d " * 18 + "e " + "f g h i " * 18 + "long " * 5), {}, "too_long"),
    ],
)
def test_every_fault_has_its_reason(examiner: Examiner, text: str, fields: dict[str, Any], expected: str) -> None:
    assert reason(examiner, text, **fields) == expected


def test_mathematics_in_greek_is_no_foreign_language(examiner: Examiner) -> None:
    accepted(examiner, text_of(question="α + β = γ?", solution="γ − α = β", answer="θ"))


def test_a_skill_in_another_script_may_be_taught_in_it(examiner: Examiner) -> None:
    request = make_request(skills=("导数",))
    text = text_of(question="两个数的和是多少请计算出来", solution="答案是四")
    accepted(examiner, text, request=request)


def test_the_second_of_two_equal_exercises_is_a_duplicate(examiner: Examiner) -> None:
    accepted(examiner, text_of(), id=1)
    assert reason(examiner, text_of(question="WHAT is 2+2"), id=2) == "duplicate"


def test_a_request_delivered_twice_is_no_duplicate_of_itself(examiner: Examiner) -> None:
    assert accepted(examiner, text_of(), id=1) == accepted(examiner, text_of(), id=1)


def test_hashes_known_from_before_are_duplicates(tokenizer: StudentTokenizer) -> None:
    examiner = Examiner(config(), tokenizer, held_out=[], known_hashes=[content_hash(GOOD["question"])])
    assert reason(examiner, text_of()) == "duplicate"


def test_a_rejected_item_does_not_block_a_later_one(tokenizer: StudentTokenizer) -> None:
    examiner = Examiner(config(200), tokenizer, held_out=[])
    assert reason(examiner, text_of(solution="a b c d e f g h " * 20), id=1) == "too_long"
    accepted(examiner, text_of(), id=2)


@given(st.text(st.characters(), max_size=200), st.sampled_from(list(Kind)))
def test_no_text_crashes_the_examiner(tokenizer: StudentTokenizer, text: str, kind: Kind) -> None:
    examiner = Examiner(config(), tokenizer, held_out=["x"])
    for form in (text, json.dumps({"question": text, "solution": text, "answer": text, "text": text * 9})):
        outcome = examiner.examine(make_completion(form, kind))
        assert isinstance(outcome, Written | Rejection)
        if isinstance(outcome, Rejection):
            outcome.detail.encode("utf-8")


def test_a_long_exercise_is_cut_off_where_the_configuration_says_so_and_marked(tokenizer: StudentTokenizer) -> None:
    changes = config(100).generate.model_copy(update={"long_exercises": "truncate"})
    examiner = Examiner(config(100).model_copy(update={"generate": changes}), tokenizer, held_out=[])
    text = text_of(solution="a b c d e f g h " * 20)
    whole = accepted(Examiner(config(500), tokenizer, held_out=[]), text)
    cut = accepted(examiner, text)
    assert cut.input_ids == whole.input_ids[:100]
    assert ("too_long", "cut") in cut.checks
    assert numbers(written_row(cut), 0)["cut"]
    assert not numbers(written_row(whole), 0)["cut"]
    assert (
        reason(examiner, text_of(question=" ".join(f"w{number}" for number in range(120))), id=2) == "too_long"
    )  # no room for any of the answer
