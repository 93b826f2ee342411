from collections import Counter

import numpy as np
import pytest

from dsa_ray.config import ConfigError, parse
from dsa_ray.dynamics.history import CompletedCycle, LossHistory
from dsa_ray.dynamics.verdicts import Judge
from dsa_ray.records import VerdictClass
from dsa_ray.sections import DynamicsConfig

QUANTILES = DynamicsConfig(thresholds="quantiles", burn_in_verdicts=1, window=1000)


def verdicts(config: DynamicsConfig, means: np.ndarray, spreads: np.ndarray) -> list:
    cycles = [CompletedCycle(k, 0, m, s, 1) for k, (m, s) in enumerate(zip(means, spreads, strict=True))]
    return Judge(config).verdicts(cycles, lambda exercise: False)


def test_each_class_gets_its_share():
    generator = np.random.default_rng(0)
    found = verdicts(QUANTILES, generator.normal(size=1000), generator.random(1000))
    counts = Counter(verdict.verdict for verdict in found)
    steady = 0.67 * 1000
    assert counts[VerdictClass.ERRONEOUS] == pytest.approx(0.05 * steady, abs=2)
    assert counts[VerdictClass.HARD] == pytest.approx(0.28 * steady, abs=2)
    assert counts[VerdictClass.EASY] == pytest.approx(0.33 * steady, abs=2)


def test_the_highest_means_are_erroneous_and_the_lowest_easy_however_far_apart_they_are():
    means = np.concatenate([np.linspace(0, 1, 99), [50.0]])
    found = verdicts(QUANTILES, means, np.full(100, 0.1))
    assert [v.exercise for v in found if v.verdict is VerdictClass.ERRONEOUS] == [95, 96, 97, 98, 99]
    assert {v.exercise for v in found if v.verdict is VerdictClass.EASY} == set(range(33))


def test_where_all_are_alike_none_is_erroneous_hard_or_easy():
    assert {v.verdict for v in verdicts(QUANTILES, np.zeros(100), np.zeros(100))} == {VerdictClass.AMBIGUOUS}


def test_every_reason_begins_with_a_code():
    generator = np.random.default_rng(0)
    found = verdicts(QUANTILES, generator.normal(size=1000), generator.random(1000))
    assert {v.reason.partition(":")[0] for v in found} == {"ambiguous", "erroneous", "hard", "easy", "between"}


def test_confidence_is_measured_as_one_minus_the_probability_of_the_answer():
    history = LossHistory(DynamicsConfig(measure="confidence", visits=1))
    history.observe(1, [1, 2], [1, 1], [0.0, 100.0], [5, 5])
    history.close_step(1)
    assert [cycle.mean for cycle in history.completed()] == pytest.approx([-0.5, 0.5])
    assert history.losses_of(2)[0].loss == 100.0


@pytest.mark.parametrize(
    ("quantiles", "key"), [({"erroneous": 0.5}, "quantiles.erroneous"), ({"hard": 0.8}, "quantiles.hard")]
)
def test_shares_that_cannot_be_are_refused(quantiles, key):
    with pytest.raises(ConfigError, match=key):
        parse({"run": {"name": "r"}, "graph": {"target": "t"}, "dynamics": {"quantiles": quantiles}})
