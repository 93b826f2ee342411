"""One number in many dresses is one answer; another number is not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.generation.answers import AnswerChecker, final_answer

FORMS_FILE = Path(__file__).parents[2] / "jobs" / "bench" / "_answer_forms.py"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FORMS = load(FORMS_FILE)


@pytest.fixture(scope="module")
def checker() -> Iterator[AnswerChecker]:
    with AnswerChecker(timeout_s=2.0) as checker:
        yield checker


def test_there_are_ten_forms_and_they_are_what_they_say() -> None:
    written = {name: form(Fraction(1234)) for name, form in FORMS.FORMS.items()}
    assert len(set(written.values())) == 10
    assert written["thousands"] == "1,234"
    assert written["money"] == "$1234.00"
    assert written["exponent"] == "1.234e3"
    assert "\\boxed{1234}" in written["boxed"]


@settings(max_examples=60, deadline=None)
@given(st.integers(-10_000_000, 10_000_000), st.sampled_from([1, 10, 100]))
def test_a_number_agrees_with_itself_in_every_form(checker: AnswerChecker, top: int, bottom: int) -> None:
    value = Fraction(top, bottom)
    gold = str(top) if value.denominator == 1 and bottom == 1 else str(float(value))
    for name, form in FORMS.FORMS.items():
        assert checker.same(form(value), gold), (name, form(value), gold)
        assert checker.same(final_answer(f"So.\nAnswer: {form(value)}") or "", gold)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10_000_000), st.randoms(use_true_random=False))
def test_no_wrong_number_passes_in_any_form(checker: AnswerChecker, value: int, rng: Random) -> None:
    for other in FORMS.wrong(Fraction(value), rng):
        for name, form in FORMS.FORMS.items():
            assert not checker.same(form(other), str(value)), (name, form(other), value)
