from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.config import Config, parse
from dsa_ray.generation.checks import Examiner, make_examiner
from dsa_ray.generation.near_duplicates import NearDuplicates
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Rejection, Written
from dsa_ray.storage.journal import SegmentWriter
from dsa_ray.storage.texts import STREAM, written_row

from .conftest import make_completion, make_request

STORY = (
    "A baker has forty trays with nine rolls each and sells them at the market until noon, when "
    "the remaining rolls are given to the school on the hill. How many rolls does the school get if {} are sold?"
)


def config(**checks: Any) -> Config:
    return parse({"run": {"name": "r"}, "graph": {"target": "t"}, "generate": {"checks": checks}})


def exercise(question: str) -> str:
    return json.dumps({"question": question, "solution": "By counting.", "answer": "7"})


def test_a_text_with_one_other_word_is_a_twin_and_another_text_is_not() -> None:
    near = NearDuplicates(across=0.7, in_skill=0.0, capacity=10)
    near.remember(1, STORY.format("ninety"), ["a"])
    twin = near.find(2, STORY.format("eighty"), ["b"])
    assert twin is not None
    assert twin.id == 1
    assert twin.similarity > 0.7
    assert (
        near.find(3, "A farmer has forty cows and sells nine of them at the market. How many are left?", ["a"]) is None
    )
    assert near.find(1, STORY.format("ninety"), ["a"]) is None


def test_within_a_skill_less_similarity_may_count() -> None:
    near = NearDuplicates(across=0.0, in_skill=0.7, capacity=10)
    near.remember(1, STORY.format("ninety"), ["a", "b"])
    assert near.find(2, STORY.format("eighty"), ["b", "c"]) is not None
    assert near.find(2, STORY.format("eighty"), ["c"]) is None


def test_the_oldest_is_forgotten_beyond_the_capacity() -> None:
    near = NearDuplicates(across=0.7, in_skill=0.0, capacity=3)
    words = ["one", "two", "three", "four", "five"]
    for number, word in enumerate(words):
        near.remember(number, " ".join(f"{word}{place}" for place in range(30)), ["a"])
        near.remember(number, "again", ["a"])
    assert len(near) == 3
    found = [near.find(99, " ".join(f"{word}{place}" for place in range(30)), ["a"]) for word in words]
    assert [twin is not None for twin in found] == [False, False, True, True, True]


def test_the_check_costs_little() -> None:
    near = NearDuplicates(across=0.7, in_skill=0.5, capacity=1000)
    began = time.perf_counter()
    for number in range(1000):
        text = " ".join(f"word{(number * 31 + place * 7) % 997}" for place in range(45))
        near.find(number, text, ["a"])
        near.remember(number, text, ["a"])
    assert (time.perf_counter() - began) / 1000 < 0.005


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: str) -> StudentTokenizer:
    return StudentTokenizer(tokenizer_path)


def test_a_near_duplicate_is_rejected_when_the_check_is_on_and_only_then(tokenizer: StudentTokenizer) -> None:
    for checks, expected in (({}, Written), ({"near_duplicate": 0.7}, Rejection)):
        examiner = Examiner(config(**checks), tokenizer, held_out=[])
        first = examiner.examine(make_completion(exercise(STORY.format("ninety")), id=1))
        assert isinstance(first, Written)
        assert ("near_duplicate" in dict(first.checks)) is bool(checks)
        assert examiner.examine(make_completion(exercise(STORY.format("ninety")), id=1)) == first
        second = examiner.examine(make_completion(exercise(STORY.format("eighty")), id=2))
        assert isinstance(second, expected)
        if isinstance(second, Rejection):
            assert second.reason == "near_duplicate"
            assert "like item 1" in second.detail


def test_what_an_earlier_process_wrote_is_known_again(tmp_path: Path, tokenizer_path: str) -> None:
    own = config(near_duplicate=0.7)
    examiner = make_examiner(own, tokenizer_path, [], journal=str(tmp_path))
    first = examiner.examine(make_completion(exercise(STORY.format("ninety")), id=1))
    assert isinstance(first, Written)
    SegmentWriter(str(tmp_path), STREAM).write([written_row(first)])
    again = make_examiner(own, tokenizer_path, [], journal=str(tmp_path))
    twin = again.examine(make_completion(exercise(STORY.format("eighty")), request=make_request(id=2)))
    assert isinstance(twin, Rejection)
    assert twin.reason == "near_duplicate"
