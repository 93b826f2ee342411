"""The whole of dynamics on simulated losses whose truth is known."""

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pytest

from dsa_ray.dynamics.decisions import ExerciseFacts, Policy
from dsa_ray.dynamics.history import LossHistory
from dsa_ray.dynamics.verdicts import Judge
from dsa_ray.records import Action, Kind, Verdict, VerdictClass
from dsa_ray.sections import DynamicsConfig

STEPS = 480


def curve(step: float) -> float:
    """Loss of an average exercise: from 3 to 0.4 nats."""
    return 0.4 + 2.6 * np.exp(-step / 120)


@dataclass
class Simulated:
    """An exercise with the steps of its visits and its losses there."""

    steps: list[int]
    losses: list[float]


def noise(generator: np.random.Generator, between: float, within: float) -> np.ndarray:
    """Factors of three losses: exercises differ, and so do their visits. No loss is below nothing."""
    return np.exp(generator.normal(0, between) + generator.normal(0, within, 3))


def run(
    exercises: dict[int, Simulated], planted: set[int], config: DynamicsConfig, judge: Judge | None = None
) -> list[Verdict]:
    history, judge = LossHistory(config), judge or Judge(config)
    history.mark_planted(planted)
    at_step = defaultdict(list)
    for exercise, simulated in exercises.items():
        for visit, (step, loss) in enumerate(zip(simulated.steps, simulated.losses, strict=True), start=1):
            at_step[step].append((exercise, visit, loss))
    verdicts = []
    for step in sorted(at_step):
        ids, visits, losses = zip(*at_step[step], strict=True)
        history.observe(step, ids, visits, losses, [30] * len(ids))
        history.close_step(step)
        verdicts += judge.verdicts(history.completed(), history.is_planted)
    return verdicts


def eight_waves(seed: int, by_heart: float = 0.0, each: int = 500) -> dict[int, Simulated]:
    """Equally hard exercises, written in eight waves over a falling loss curve, three visits each within 80 steps.

    by_heart: how much lower the loss of an exercise is after each visit, beyond the curve, as a share of it.
    """
    generator = np.random.default_rng(seed)
    exercises = {}
    for wave in range(8):
        for k in range(each):
            steps = np.sort(1 + wave * STEPS // 8 + generator.choice(80, 3, replace=False))
            losses = curve(steps) * noise(generator, 0.15, 0.1) * np.exp(-by_heart * np.arange(3))
            exercises[wave * each + k] = Simulated(steps.tolist(), losses.tolist())
    return exercises


def shares_by_wave(verdicts: list[Verdict], each: int = 500) -> dict[VerdictClass, list[float]]:
    waves = [Counter() for _ in range(8)]
    for verdict in verdicts:
        waves[verdict.exercise // each][verdict.verdict] += 1
    return {kind: [wave[kind] / wave.total() for wave in waves] for kind in VerdictClass}


def global_shares(exercises: dict[int, Simulated]) -> tuple[list[float], list[float]]:
    """Easy and hard shares per wave when raw losses are compared with one mean over everything."""
    means = np.array([np.mean(e.losses) for e in exercises.values()]).reshape(8, -1)
    spreads = np.array([np.std(e.losses) for e in exercises.values()]).reshape(8, -1)
    steady = spreads < spreads.mean()
    easy, hard = means < means.mean(), means >= means.mean()
    return (steady & easy).mean(axis=1).tolist(), (steady & hard).mean(axis=1).tolist()


def widest(shares: list[float]) -> float:
    return max(shares) - min(shares)


def test_equally_hard_exercises_are_judged_alike_whenever_they_are_written():
    shares = shares_by_wave(run(eight_waves(seed=1), set(), DynamicsConfig()))
    for kind in (VerdictClass.EASY, VerdictClass.HARD, VerdictClass.AMBIGUOUS):
        assert widest(shares[kind]) < 0.1, kind
    assert shares[VerdictClass.ERRONEOUS] == [0.0] * 8


def test_one_global_mean_would_judge_them_by_their_time():
    easy, hard = global_shares(eight_waves(seed=1))
    assert easy[0] < 0.05
    assert easy[7] > 0.6
    assert max(hard[:3]) > 0.25
    assert hard[7] < 0.02


def test_learning_by_heart_does_not_tilt_the_shares():
    shares = shares_by_wave(run(eight_waves(seed=1, by_heart=0.1), set(), DynamicsConfig()))
    for kind in (VerdictClass.EASY, VerdictClass.HARD, VerdictClass.AMBIGUOUS):
        assert widest(shares[kind]) < 0.1, kind


def with_errors(seed: int, inline: bool, count: int = 2400, wrong_share: float = 0.08) -> tuple[dict, set, set]:
    """Right and wrong exercises over the curve; a wrong answer's loss stays high while the others fall.

    Returns the exercises, the planted ids (2 % and at least 64) and the ids of the wrong ones among the real.
    """
    generator = np.random.default_rng(seed)
    planted = set(range(count, count + max(64, count // 50)))
    wrong = set(np.flatnonzero(generator.random(count) < wrong_share).tolist())
    exercises = {}
    for exercise in range(count + len(planted)):
        start = 1 + int(generator.integers(STEPS - 80))
        steps = np.sort(start + generator.choice(80, 3, replace=False))
        losses = curve(steps) * noise(generator, 0.2, 0.1)
        if exercise in wrong or exercise in planted:
            losses = losses + 0.9 * (3.0 - curve(steps)) / 2.6
        if inline or exercise not in planted:
            losses = losses * np.exp(-0.05 * np.arange(3))  # trained on, so partly learned by heart
        exercises[exercise] = Simulated(steps.tolist(), losses.tolist())
    return exercises, planted, wrong


@pytest.mark.parametrize("inline", [True, False])
def test_what_is_called_erroneous_is_wrong_and_a_fair_part_of_the_wrong_is_found(inline):
    right_calls = calls = wrongs = 0
    for seed in range(3):
        exercises, planted, wrong = with_errors(seed, inline)
        verdicts = run(exercises, planted, DynamicsConfig())
        called = {verdict.exercise for verdict in verdicts if verdict.verdict is VerdictClass.ERRONEOUS}
        assert not called & planted
        right_calls, calls, wrongs = right_calls + len(called & wrong), calls + len(called), wrongs + len(wrong)
    assert right_calls / calls > 0.8, "precision"
    assert right_calls / wrongs > 0.3, "recall"


@pytest.mark.parametrize("inline", [True, False])
def test_where_nothing_is_wrong_next_to_nothing_is_called_so(inline):
    exercises, planted, _ = with_errors(seed=6, inline=inline, wrong_share=0.0)
    verdicts = run(exercises, planted, DynamicsConfig())
    assert sum(verdict.verdict is VerdictClass.ERRONEOUS for verdict in verdicts) < 0.02 * len(verdicts)


def test_with_half_of_the_data_wrong_next_to_nothing_is_dropped_and_nothing_right():
    exercises, planted, wrong = with_errors(seed=7, inline=True, wrong_share=0.5)
    verdicts = run(exercises, planted, DynamicsConfig())
    called = {verdict.exercise for verdict in verdicts if verdict.verdict is VerdictClass.ERRONEOUS}
    assert called <= wrong
    assert len(called) < 0.005 * len(verdicts)


@pytest.mark.parametrize("inline", [True, False])
def test_planted_ones_give_both_baselines_inline_and_probed(inline):
    exercises, planted, _ = with_errors(seed=3, inline=inline)
    judge = Judge(DynamicsConfig())
    verdicts = run(exercises, planted, DynamicsConfig(), judge)
    levels = judge.baselines.levels()
    assert levels.planted_cycles == 16
    assert levels.planted_loss > levels.average_loss + levels.deviation
    assert 0.02 < levels.planted_spread < 0.3
    assert {verdict.exercise for verdict in verdicts} == set(exercises) - planted


def test_nothing_is_erroneous_while_wrong_answers_look_like_right_ones():
    exercises = eight_waves(seed=4)
    planted = set(range(0, 4000, 40))
    verdicts = run(exercises, planted, DynamicsConfig(planted_min=0))
    assert not [verdict for verdict in verdicts if verdict.verdict is VerdictClass.ERRONEOUS]
    assert len(verdicts) == 3900


def test_dropping_stops_at_its_cap_however_much_is_wrong():
    config = DynamicsConfig(drop_cap=0.02)
    exercises, planted, _ = with_errors(seed=5, inline=True, wrong_share=0.2)
    policy, dropped = Policy(config), 0
    for verdict in run(exercises, planted, config):
        facts = ExerciseFacts(kind=Kind.EXERCISE, skills=("a",), difficulty=1, dropped_share=(dropped + 1) / 2400)
        dropped += Action.DROP in policy.decide(verdict, facts).actions
    assert dropped == 48
