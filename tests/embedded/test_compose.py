from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.embedded import compose
from dsa_ray.embedded.families import FAMILIES


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_oracle_agrees_with_the_writer_and_nothing_is_held_out(count: int):
    rng = Random(count)
    for _ in range(600):
        problem = compose.exercise(rng, rng.sample(list(FAMILIES), count), rng.randint(1, 5))
        assert compose.solve(problem.question) == problem.answer
        assert problem.answer.count(";") == count - 1
        assert not compose.contains_held_out(problem.question)


def test_a_part_may_ask_about_the_result_of_the_one_before():
    question = "(1) Expand (x+2)(x+3). (2) Differentiate the result."
    assert compose.solve(question) == "x^2+5x+6; 2x+5"


def test_a_result_without_a_part_before_is_not_understood():
    assert compose.solve("Differentiate the result.") is None
    assert compose.solve("(1) What is 2+3? (2) Sing a song.") is None


@given(st.text(max_size=80) | st.from_regex(r"\(1\) [a-zA-Z0-9+^x. ]{0,30} \(2\) [a-z0-9 ]{0,20}", fullmatch=True))
def test_any_text_is_solved_or_not_but_never_fails(text: str):
    compose.solve(text)
    compose.contains_held_out(text)


@pytest.mark.parametrize("question", ["What is 99999^9999+1?", "Compute 999999^9-1.", "Find 9x^99 for x=999999."])
def test_enormous_numbers_do_not_hang(question: str):
    compose.solve(question)
