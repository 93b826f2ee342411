import math

import numpy as np
import pytest

from dsa_ray.dynamics.baselines import Baselines, planted_window
from dsa_ray.sections import DynamicsConfig


def baselines(**values) -> Baselines:
    return Baselines(DynamicsConfig(**{"window": 4, "planted_min": 3, **values}))


def test_averages_are_means_of_means_and_of_spreads():
    running = baselines()
    running.add(1, [1.0, 3.0], [0.2, 0.4], planted=False)
    levels = running.levels()
    assert (levels.average_loss, levels.average_spread, levels.deviation) == pytest.approx((2.0, 0.3, 1.0))
    assert levels.cycles == 2


def test_only_the_window_counts_but_all_cycles_are_counted():
    running = baselines()
    running.add(1, [100.0] * 3, [9.0] * 3, planted=False)
    running.add(2, [1.0] * 4, [0.5] * 4, planted=False)
    assert running.levels().average_loss == 1.0
    assert running.levels().cycles == 7


def test_planted_and_real_never_mix():
    running = baselines()
    running.add(1, [1.0], [0.1], planted=False)
    running.add(1, [7.0, 9.0], [0.3, 0.5], planted=True)
    levels = running.levels()
    assert (levels.average_loss, levels.average_spread, levels.cycles) == (1.0, 0.1, 1)
    assert (levels.planted_loss, levels.planted_spread, levels.planted_cycles) == pytest.approx((8.0, 0.4, 2))


def test_old_planted_cycles_leave():
    running = baselines()
    running.add(1, [0.0] * 5, [1.0] * 5, planted=True)
    running.add(2, [6.0] * 3, [0.5] * 3, planted=True)
    levels = running.levels()
    assert (levels.planted_loss, levels.planted_spread, levels.planted_cycles) == (6.0, 0.5, 3)


def test_the_planted_window_follows_share_and_minimum():
    assert planted_window(DynamicsConfig()) == 16
    assert planted_window(DynamicsConfig(planted_min=0)) == 11
    assert planted_window(DynamicsConfig(planted_min=0, planted_share=0.0)) == 2


def test_nothing_known_is_nan():
    levels = baselines().levels()
    assert math.isnan(levels.average_loss)
    assert math.isnan(levels.planted_loss)
    assert levels.cycles == levels.planted_cycles == 0


def test_a_planted_cycle_without_a_mean_is_left_out():
    running = baselines()
    running.add(1, [math.nan, 2.0], [math.nan, 0.5], planted=True)
    running.add(1, [math.nan], [math.nan], planted=True)
    assert running.levels().planted_loss == 2.0
    assert running.levels().planted_cycles == 1


def test_steps_may_not_go_back():
    running = baselines()
    running.add(5, [1.0], [1.0], planted=False)
    with pytest.raises(ValueError, match="step 4 lies before step 5"):
        running.add(4, [1.0], [1.0], planted=False)


def test_voiding_brings_back_what_the_window_held_before():
    running = baselines()
    running.add(1, [1.0] * 4, [1.0] * 4, planted=False)
    running.add(1, [5.0], [1.0], planted=True)
    before = running.levels()
    running.add(2, [9.0] * 4, [3.0] * 4, planted=False)
    running.add(3, [9.0] * 4, [3.0] * 4, planted=True)
    running.void_after(1)
    assert running.levels() == before


def test_a_copy_through_its_state_continues_identically():
    one, other = baselines(), baselines()
    one.add(1, [1.0, 2.0], [0.1, 0.2], planted=False)
    one.add(1, [4.0], [0.2], planted=True)
    other.load_state_dict(one.state_dict())
    for running in (one, other):
        running.add(2, np.array([3.0, 4.0, 5.0]), np.array([0.3, 0.4, 0.5]), planted=False)
    assert one.levels() == other.levels()
