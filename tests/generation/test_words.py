from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.generation.words import SpanIndex, content_hash, hash64, words

TEXT = st.text(st.characters(), max_size=60)


def test_words_keep_numbers_and_operators_and_lose_punctuation() -> None:
    assert words("What is 2×3.5, Tom?") == ["what", "is", "2", "*", "3.5", "tom"]
    assert words("x**2 − 1") == words("X^2-1.") == ["x", "^", "2", "-", "1"]


def test_hashes_ignore_case_spacing_and_punctuation_but_not_signs() -> None:
    assert content_hash("Solve  x + 2 = 5!") == content_hash("solve x+2=5")
    assert content_hash("Solve x - 2 = 5") != content_hash("Solve x + 2 = 5")


def test_a_hash_is_stable_and_signed() -> None:
    assert hash64("a") == hash64("a") == 4681665781835383343
    assert content_hash("???") != 0


@given(TEXT)
def test_a_hash_fits_int64_and_is_never_zero(text: str) -> None:
    assert -(2**63) <= content_hash(text) < 2**63
    assert content_hash(text) != 0


def test_a_short_text_is_found_as_whole_words_only() -> None:
    index = SpanIndex(["What is 2 + 3?", "Find the limit", ""])
    assert index.find("Tom asks: what is 2+3 today?") == "what is 2 + 3"
    assert index.find("Find the limits of it") is None
    assert index.find("WHAT IS 2 +\n3") == "what is 2 + 3"
    assert SpanIndex([]).find("anything") is None


def test_an_expression_that_goes_on_is_another_expression() -> None:
    index = SpanIndex(["Differentiate x^2"])
    assert index.find("Differentiate x^2 + 3x") is None
    assert index.find("Differentiate x^23") is None
    assert index.find("Differentiate x^2.5") is None
    assert index.find("Differentiate x^2. Then add 3.") == "differentiate x ^ 2"


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=7), st.lists(st.sampled_from("abc"), max_size=25))
def test_the_index_agrees_with_a_plain_search(short: list[str], long: list[str]) -> None:
    plain = any(long[i : i + len(short)] == short for i in range(len(long)))
    assert (SpanIndex([" ".join(short)]).find(" ".join(long)) is not None) == plain
