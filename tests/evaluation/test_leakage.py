import math

import pytest

from dsa_ray.evaluation.leakage import leakage


def test_the_gap_is_test_minus_train_with_its_error() -> None:
    marks = leakage([1.0, 1.2], [1.4, 1.0, 1.2])
    assert marks["loss_train"].value == pytest.approx(1.1)
    assert marks["loss_test"].value == pytest.approx(1.2)
    assert marks["loss_gap"].value == pytest.approx(0.1)
    assert marks["loss_gap"].stderr == pytest.approx(math.hypot(0.1, 0.2 / math.sqrt(3)))
    assert (marks["loss_train"].n, marks["loss_test"].n, marks["loss_gap"].n) == (2, 3, 5)
    assert leakage([1.0], [2.0])["loss_gap"].stderr is None


def test_an_empty_set_has_no_loss() -> None:
    with pytest.raises(ValueError, match="must hold questions"):
        leakage([], [1.0])
