import pytest

from dsa_ray.sections import TrainConfig
from dsa_ray.training.schedule import learning_rate

CONFIG = TrainConfig(learning_rate=2.0, textbook_learning_rate=4.0, warmup=0.2, final_lr_share=0.1)


def test_the_rate_rises_to_the_peak_and_falls_to_the_final_share() -> None:
    rates = [learning_rate(CONFIG, "exercises", p) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert rates == pytest.approx([0.0, 1.0, 2.0, 1.1, 0.2])


def test_textbooks_have_a_peak_of_their_own() -> None:
    assert learning_rate(CONFIG, "textbooks", 0.2) == pytest.approx(4.0)
    assert learning_rate(TrainConfig(learning_rate=2.0), "textbooks", 0.05) == pytest.approx(2.0)


def test_progress_beyond_the_phase_keeps_the_last_rate() -> None:
    assert learning_rate(CONFIG, "exercises", 1.2) == pytest.approx(0.2)


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_a_phase_may_be_all_or_no_warm_up(warmup: float) -> None:
    config = TrainConfig(learning_rate=2.0, warmup=warmup, final_lr_share=1.0)
    assert learning_rate(config, "exercises", 1.0) == pytest.approx(2.0)
    assert learning_rate(config, "exercises", 0.5) == pytest.approx(2.0 if warmup == 0 else 1.0)


def test_a_line_and_a_constant_are_alternatives_to_the_cosine() -> None:
    changes = {"learning_rate": 2.0, "warmup": 0.2, "final_lr_share": 0.1}
    line, flat = (TrainConfig(schedule=name, **changes) for name in ("linear", "constant"))
    assert [learning_rate(line, "exercises", p) for p in (0.1, 0.2, 0.6, 1.0)] == pytest.approx([1.0, 2.0, 1.1, 0.2])
    assert [learning_rate(flat, "exercises", p) for p in (0.1, 0.2, 0.6, 1.0)] == pytest.approx([1.0, 2.0, 2.0, 2.0])
