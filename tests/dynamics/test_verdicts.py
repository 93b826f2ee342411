from dataclasses import replace

import pytest

from dsa_ray.config import DynamicsConfig
from dsa_ray.dynamics.baselines import Levels
from dsa_ray.dynamics.history import CompletedCycle
from dsa_ray.dynamics.verdicts import Judge, error_score, error_test_guard, judge
from dsa_ray.records import VerdictClass

CONFIG = DynamicsConfig()
LEVELS = Levels(
    average_loss=0.0,
    average_spread=0.2,
    deviation=0.3,
    cycles=64,
    planted_loss=1.0,
    planted_spread=0.25,
    planted_cycles=64,
)


@pytest.mark.parametrize(
    ("mean", "spread", "expected"),
    [
        (1.0, 0.25, VerdictClass.ERRONEOUS),
        (1.0, 0.1, VerdictClass.ERRONEOUS),
        (5.0, 0.26, VerdictClass.AMBIGUOUS),
        (0.99, 0.1, VerdictClass.HARD),
        (0.0, 0.19, VerdictClass.HARD),
        (-0.01, 0.19, VerdictClass.EASY),
        (-0.01, 0.2, VerdictClass.AMBIGUOUS),
        (0.5, 0.2, VerdictClass.AMBIGUOUS),
    ],
)
def test_the_tests_are_made_in_order(mean, spread, expected):
    assert judge(mean, spread, LEVELS, CONFIG)[0] is expected


def test_the_reason_says_which_inequality_decided():
    _, reason = judge(1.5, 0.1, LEVELS, CONFIG)
    assert reason == "erroneous: mean 1.5000 >= L_b 1.0000, spread 0.1000 <= sigma_b 0.2500"


def test_before_burn_in_everything_is_ambiguous():
    verdict, reason = judge(5.0, 0.0, replace(LEVELS, cycles=63), CONFIG)
    assert (verdict, reason) == (VerdictClass.AMBIGUOUS, "burn_in: 63 of 64 cycles")


def test_without_any_cycle_even_no_burn_in_is_ambiguous():
    nothing = Levels(average_loss=float("nan"), average_spread=float("nan"), deviation=float("nan"), cycles=0)
    assert judge(5.0, 0.0, nothing, DynamicsConfig(burn_in_verdicts=0))[0] is VerdictClass.AMBIGUOUS


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"planted_cycles": 0, "planted_loss": float("nan")}, "planted_few"),
        ({"planted_cycles": 15}, "planted_few"),
        ({"planted_loss": 0.3}, "planted_close"),
        ({"planted_loss": -1.0}, "planted_close"),
        ({"average_spread": 1.0}, "planted_close"),
        ({"planted_loss": float("nan")}, "planted_close"),
    ],
)
def test_a_useless_baseline_makes_nothing_erroneous(change, code):
    verdict, reason = judge(5.0, 0.0, replace(LEVELS, **change), CONFIG)
    assert verdict is VerdictClass.HARD
    assert f"no error test: {code}" in reason


def test_a_good_baseline_needs_no_more_cycles_than_the_planted_window_holds():
    few = DynamicsConfig(planted_min=4, planted_share=0.0)
    assert error_test_guard(replace(LEVELS, planted_cycles=4), few) == ""
    assert error_test_guard(replace(LEVELS, planted_cycles=3), few).startswith("planted_few")


def cycle(exercise: int, mean: float, spread: float = 0.1, step: int = 1) -> CompletedCycle:
    return CompletedCycle(exercise, 0, mean, spread, step)


def test_planted_cycles_get_no_verdict_and_enter_no_average():
    jury = Judge(DynamicsConfig(burn_in_verdicts=1))
    verdicts = jury.verdicts([cycle(1, 0.5), cycle(2, 900.0)], {2}.__contains__)
    assert [verdict.exercise for verdict in verdicts] == [1]
    assert jury.baselines.levels().average_loss == 0.5
    assert jury.baselines.levels().planted_loss == 900.0


def test_all_cycles_of_a_step_are_judged_by_the_same_baselines():
    cycles = [cycle(1, -1.0), cycle(2, 1.0, 0.3), cycle(3, 0.5)]
    config = DynamicsConfig(burn_in_verdicts=3)
    forward = Judge(config).verdicts(cycles, lambda _: False)
    backward = Judge(config).verdicts(cycles[::-1], lambda _: False)
    assert forward == backward[::-1]
    assert [v.verdict for v in forward] == [VerdictClass.EASY, VerdictClass.AMBIGUOUS, VerdictClass.HARD]


def test_later_steps_do_not_change_earlier_verdicts_however_they_are_handed_over():
    cycles = [cycle(1, -1.0, step=1), cycle(2, 1.0, step=2), cycle(3, 8.0, step=3)]
    config = DynamicsConfig(burn_in_verdicts=1)
    at_once = Judge(config).verdicts(cycles, lambda _: False)
    jury = Judge(config)
    one_by_one = [verdict for one in cycles for verdict in jury.verdicts([one], lambda _: False)]
    assert at_once == one_by_one


def test_a_judge_continues_from_its_state_and_forgets_voided_steps():
    config = DynamicsConfig(burn_in_verdicts=2)
    jury, copy = Judge(config), Judge(config)
    jury.verdicts([cycle(1, 0.0), cycle(2, 1.0)], lambda _: False)
    before = jury.baselines.levels()
    jury.verdicts([cycle(3, 50.0, step=2)], lambda _: False)
    jury.void_after(1)
    assert jury.baselines.levels() == before
    copy.load_state_dict(jury.state_dict())
    again = [cycle(4, 0.2, 0.05, step=2)]
    assert jury.verdicts(again, lambda _: False) == copy.verdicts(again, lambda _: False)


def test_the_error_level_lies_between_the_average_and_the_planted():
    halfway = DynamicsConfig(error_level=0.5)
    assert judge(0.5, 0.1, LEVELS, halfway)[0] is VerdictClass.ERRONEOUS
    assert judge(0.49, 0.1, LEVELS, halfway)[0] is VerdictClass.HARD
    assert judge(0.5, 0.26, LEVELS, halfway)[0] is not VerdictClass.ERRONEOUS
    assert judge(0.5, 0.1, LEVELS, halfway)[1].startswith("erroneous: mean 0.5000 >= 0.5 of L_b 1.0000: 0.5000")


def test_the_guards_hold_at_any_error_level():
    close = replace(LEVELS, planted_loss=0.3)
    assert judge(0.2, 0.1, close, DynamicsConfig(error_level=0.5))[0] is VerdictClass.HARD


def test_the_score_is_the_distance_from_the_threshold_in_deviations():
    assert error_score(1.6, LEVELS, CONFIG) == pytest.approx(2.0)
    assert error_score(0.8, LEVELS, DynamicsConfig(error_level=0.5)) == pytest.approx(1.0)
    unknown = replace(LEVELS, planted_loss=float("nan"))
    assert error_score(0.3, unknown, CONFIG) == pytest.approx(1.0)
    nothing = Levels(average_loss=float("nan"), average_spread=float("nan"), deviation=float("nan"), cycles=0)
    assert error_score(0.3, nothing, CONFIG) == 0.0
