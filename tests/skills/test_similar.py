import numpy as np
import pytest

from dsa_ray.skills.similar import AnySimilar, SimilarMeaning, SimilarSpelling, embedder
from tests.engines.tiny_model import tiny_llama


def known(*names: str, threshold: float = 0.9) -> SimilarSpelling:
    similar = SimilarSpelling(threshold)
    for name in names:
        similar.add(name, name)
    return similar


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("Differentation of products", "Differentiation of products"),
        ("Differentiatoin of products", "Differentiation of products"),
        ("group theory", "Theory of groups"),
        ("the Optimisation  of functions", "Optimization of function"),
    ],
)
def test_a_slip_of_spelling_finds_the_skill(name: str, same: str) -> None:
    assert known("Cooking", same).find(name) == same


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Symmetric matrices", "Asymmetric matrices"),
        ("Derivatives of sine functions", "Derivatives of cosine functions"),
        ("Microeconomics", "Macroeconomics"),
        ("Mathematics grade 7", "Mathematics grade 8"),
        ("Matrix of vectors", "Vector of matrices"),
        ("Addition", "Audition"),
    ],
)
def test_words_that_mean_something_else_stay_apart(name: str, other: str) -> None:
    assert known(other).find(name) is None


def test_at_one_only_equal_words_are_found() -> None:
    assert known("Differentiation", threshold=1.0).find("Differentation") is None
    assert known("Differentiation", threshold=1.0).find("The differentiations") == "Differentiation"


def letters(names):
    """Counts of letters as vectors."""
    return np.array([[name.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for name in names])


def test_names_of_like_meaning_are_found_by_their_vectors() -> None:
    similar = SimilarMeaning(letters, 0.95)
    assert similar.find("listen") is None
    similar.add("Listen", "listen")
    similar.add("Cooking", "cooking")
    assert similar.find("silent") == "listen"
    assert similar.find("xylophone") is None


def test_numbers_never_merge_by_meaning() -> None:
    similar = SimilarMeaning(letters, 0.95)
    similar.add("Grade 7", "grade-7")
    assert similar.find("Grade 8") is None
    assert similar.find("7 grade") == "grade-7"


def test_many_vectors_fit() -> None:
    similar = SimilarMeaning(lambda names: np.array([[float(name), 1.0] for name in names]), 1.0 - 1e-12)
    for n in range(200):
        similar.add(str(n), f"s{n}")
    assert similar._vectors.shape[0] >= 200


def test_the_first_that_knows_answers() -> None:
    first, second = known("Cooking"), SimilarMeaning(letters, 0.95)
    both = AnySimilar(first, second)
    both.add("Listen", "listen")
    assert both.find("silent") == "listen"
    assert both.find("cooking") == "Cooking"


def test_a_local_model_makes_vectors(tmp_path) -> None:
    embed = embedder(tiny_llama(tmp_path))
    vectors = embed(["Limit", "Limit", "Cooking with gas"])
    assert vectors.shape[0] == 3
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-3)
