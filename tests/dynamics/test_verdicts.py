from dataclasses import replace

import numpy as np
import pytest

from dsa_ray.dynamics.baselines import Levels
from dsa_ray.dynamics.history import CompletedCycle
from dsa_ray.dynamics.skill_levels import SkillLevels
from dsa_ray.dynamics.verdicts import Judge, error_score, error_test_guard, judge
from dsa_ray.records import Verdict, VerdictClass
from dsa_ray.sections import DynamicsConfig
from dsa_ray.storage.state import pack_state, unpack_state

CONFIG = DynamicsConfig(error_level=1.0)
LEVELS = Levels(
    average_loss=0.0,
    average_spread=0.2,
    deviation=0.25,
    cycles=64,
    easy_spread=0.15,
    hard_spread=0.2,
    planted_loss=1.0,
    planted_spread=0.25,
    planted_spread_deviation=0.05,
    planted_cycles=64,
)


@pytest.mark.parametrize(
    ("mean", "spread", "expected"),
    [
        (1.0, 0.3, VerdictClass.ERRONEOUS),
        (1.0, 0.1, VerdictClass.ERRONEOUS),
        (5.0, 0.31, VerdictClass.AMBIGUOUS),
        (0.99, 0.1, VerdictClass.HARD),
        (0.0, 0.19, VerdictClass.HARD),
        (-0.01, 0.14, VerdictClass.EASY),
        (-0.01, 0.15, VerdictClass.AMBIGUOUS),
        (0.5, 0.2, VerdictClass.AMBIGUOUS),
    ],
)
def test_the_tests_are_made_in_order(mean, spread, expected):
    assert judge(mean, spread, LEVELS, CONFIG)[0] is expected


def test_the_reason_says_which_inequality_decided():
    _, reason = judge(1.5, 0.1, LEVELS, CONFIG)
    assert reason == "erroneous: mean 1.5000 >= 1.0000 (L_b 1.0000), spread 0.1000 <= sigma_b 0.2500 + 0.0500"


def test_without_any_cycle_everything_is_ambiguous():
    nothing = Levels(average_loss=float("nan"), average_spread=float("nan"), deviation=float("nan"), cycles=0)
    assert judge(5.0, 0.0, nothing, CONFIG)[0] is VerdictClass.AMBIGUOUS


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"planted_cycles": 0, "planted_loss": float("nan")}, "planted_few"),
        ({"planted_cycles": 5}, "planted_few"),
        ({"planted_loss": 0.25}, "planted_close"),
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


def told(verdicts: list[Verdict]) -> list[tuple[int, int]]:
    return [(verdict.exercise, verdict.step) for verdict in verdicts]


def test_the_first_verdicts_wait_until_the_averages_are_known():
    jury = Judge(DynamicsConfig(burn_in_verdicts=3))
    assert jury.verdicts([cycle(1, -1.0), cycle(9, 5.0)], {9}.__contains__) == []
    assert jury.verdicts([cycle(2, 0.0, step=2)], {9}.__contains__) == []
    found = jury.verdicts([cycle(3, 1.0, step=4), cycle(4, 2.0, step=5)], {9}.__contains__)
    assert told(found) == [(1, 4), (2, 4), (3, 4), (4, 5)]
    at_once = Judge(DynamicsConfig(burn_in_verdicts=3)).verdicts(
        [cycle(1, -1.0), cycle(2, 0.0), cycle(3, 1.0)], {9}.__contains__
    )
    assert [one.verdict for one in found[:3]] == [one.verdict for one in at_once]


@pytest.mark.parametrize(("last", "expected"), [(1, [1, 2, 3]), (2, [1, 2, 3]), (3, [3])])
def test_voiding_the_step_at_which_they_were_judged_lets_them_wait_again(last, expected):
    config = DynamicsConfig(burn_in_verdicts=2)
    jury, copy = Judge(config), Judge(config)
    jury.verdicts([cycle(1, -1.0), cycle(7, 0.0, step=2), cycle(8, 0.0, step=3)], {7}.__contains__)
    jury.void_after(last)
    copy.load_state_dict(jury.state_dict())
    again = [cycle(2, 0.0, step=last + 1), cycle(3, 1.0, step=last + 1)]
    if last == 3:
        again = again[1:]
    for one in (jury, copy):
        assert [verdict.exercise for verdict in one.verdicts(again, {7}.__contains__)] == expected


def test_an_exercise_is_compared_with_its_own_skills():
    """A third, of `b`, lies high, and one of it higher: with one average for all, right ones of it look erroneous."""
    generator = np.random.default_rng(0)
    means = [float(generator.normal(3.0 * (k % 3 == 0), 0.1)) for k in range(400)]
    real = [cycle(k, mean, 0.1 + 0.001 * (k // 3 % 100)) for k, mean in enumerate(means)]
    planted = [cycle(k, 1.0 + 3.0 * (k % 3 == 0)) for k in range(1000, 1018)]
    found, average = {}, {}
    for by_skill in (True, False):
        jury = Judge(DynamicsConfig(by_skill=by_skill, window=100))
        cycles = [*real, *planted, cycle(402, 4.0, 0.09)]
        verdicts = jury.verdicts(cycles, lambda number: number >= 1000, lambda number: ("ab"[number % 3 == 0],))
        average[by_skill] = jury.levels().average_loss
        found[by_skill] = {one.exercise: one for one in verdicts}
    assert [number for number, one in found[True].items() if one.verdict is VerdictClass.ERRONEOUS] == [402]
    assert found[True][402].mean_loss - average[True] == pytest.approx(1.0, abs=0.2)
    erroneous = {number for number, one in found[False].items() if one.verdict is VerdictClass.ERRONEOUS}
    assert erroneous - {402}
    assert {number % 3 for number in erroneous} == {0}
    classes = {flag: {one.verdict for number, one in found[flag].items() if number % 3 == 0} for flag in (True, False)}
    assert VerdictClass.EASY in classes[True]
    assert VerdictClass.EASY not in classes[False]


def test_what_is_replayed_is_judged_and_moves_no_average():
    generator = np.random.default_rng(0)
    taught = [cycle(k, float(generator.normal()), float(generator.uniform(0.1, 0.3))) for k in range(200)]
    known = [cycle(k, -4.0, 0.01) for k in range(1000, 1400)]

    def judged(cycles: list[CompletedCycle]) -> tuple[dict[int, VerdictClass], Levels]:
        jury = Judge(DynamicsConfig(burn_in_verdicts=64), frozenset({"known"}).issuperset)
        found = jury.verdicts(cycles, lambda _: False, lambda number: ("known" if number >= 1000 else "new",))
        return {one.exercise: one.verdict for one in found}, jury.levels()

    alone, levels = judged(taught)
    together, same = judged([*known, *taught])
    assert repr(same) == repr(levels)
    assert {number: together[number] for number in alone} == alone
    assert {together[one.exercise] for one in known} == {VerdictClass.EASY}
    assert sum(verdict is VerdictClass.EASY for verdict in alone.values()) > 30


def test_the_level_of_skills_is_the_mean_of_theirs_and_nothing_for_an_unknown_one():
    levels = SkillLevels()
    codes = np.array([levels.code(("a",)), levels.code(("a", "b")), levels.code(("c",))])
    levels.fit(np.repeat(codes, [4, 4, 0]), np.repeat([1.0, 2.0, 0.0], [4, 4, 0]))
    of_a, of_b = (4 * 1.0 + 4 * 2.0) / (8 + 4), 4 * 2.0 / (4 + 4)
    assert levels.levels(codes) == pytest.approx([of_a, (of_a + of_b) / 2, 0.0])
    assert levels.levels(codes[[1, 1, 0]]) == pytest.approx([(of_a + of_b) / 2] * 2 + [of_a])
    later = [levels.code(()), levels.code(("b", "d")), levels.code(("é",))]
    assert levels.levels(np.array(later)) == pytest.approx([0.0, of_b / 2, 0.0])
    again = SkillLevels()
    again.load_state_dict(unpack_state(pack_state(levels.state_dict())))
    assert [again.code(skills) for skills in ((), ("b", "d"), ("é",), ("a",))] == [*later, 0]


def test_planted_cycles_get_no_verdict_and_enter_no_average():
    jury = Judge(DynamicsConfig(burn_in_verdicts=1))
    verdicts = jury.verdicts([cycle(1, 0.5), cycle(2, 900.0)], {2}.__contains__)
    assert [verdict.exercise for verdict in verdicts] == [1]
    assert jury.baselines.levels().average_loss == 0.5
    assert jury.baselines.levels().planted_loss == 900.0


def test_all_cycles_of_a_step_are_judged_by_the_same_baselines():
    cycles = [cycle(1, -1.0), cycle(2, 1.0, 0.3), cycle(3, 0.5), cycle(4, -1.0, 0.2)]
    config = DynamicsConfig(burn_in_verdicts=4)
    forward = Judge(config).verdicts(cycles, lambda _: False)
    backward = Judge(config).verdicts(cycles[::-1], lambda _: False)
    assert forward == backward[::-1]
    assert [v.verdict.value[:4] for v in forward] == ["easy", "ambi", "hard", "ambi"]


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
    assert judge(0.5, 0.31, LEVELS, halfway)[0] is not VerdictClass.ERRONEOUS
    assert judge(0.5, 0.1, LEVELS, halfway)[1].startswith("erroneous: mean 0.5000 >= 0.5000 (L_b 1.0000)")


def test_nothing_is_erroneous_that_lies_as_high_by_chance():
    wide = replace(LEVELS, deviation=0.4)
    assert judge(0.71, 0.1, wide, DynamicsConfig(error_level=0.5))[0] is VerdictClass.ERRONEOUS
    assert judge(0.69, 0.1, wide, DynamicsConfig(error_level=0.5))[0] is VerdictClass.HARD


def test_the_guards_hold_at_any_error_level():
    close = replace(LEVELS, planted_loss=0.25)
    assert judge(5.0, 0.1, close, DynamicsConfig(error_level=0.5))[0] is VerdictClass.HARD


def test_the_score_is_the_distance_from_the_threshold_in_deviations():
    assert error_score(1.5, LEVELS, CONFIG) == pytest.approx(2.0)
    assert error_score(0.75, LEVELS, DynamicsConfig(error_level=0.5)) == pytest.approx(1.0)
    unknown = replace(LEVELS, planted_loss=float("nan"))
    assert error_score(0.25, unknown, CONFIG) == pytest.approx(1.0)
    nothing = Levels(average_loss=float("nan"), average_spread=float("nan"), deviation=float("nan"), cycles=0)
    assert error_score(0.3, nothing, CONFIG) == 0.0
