import io
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.dynamics.history import LossHistory
from dsa_ray.sections import DynamicsConfig

Row = tuple[int, int, float]  # exercise, visit, loss


def history(**values) -> LossHistory:
    return LossHistory(DynamicsConfig(**{"measure": "loss", "visits": 3, "cohort_steps": 4, **values}))


def train(into: LossHistory, step: int, *rows: Row) -> None:
    observe(into, step, rows)
    into.close_step(step)


def observe(into: LossHistory, step: int, rows) -> None:
    ids, visits, losses = zip(*rows, strict=True) if rows else ((), (), ())
    into.observe(step, ids, visits, losses, [7] * len(ids))


def through_disk(state: dict) -> dict:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    return dict(np.load(file, allow_pickle=False))


def copy_of(original: LossHistory, **values) -> LossHistory:
    copy = history(**values)
    copy.load_state_dict(through_disk(original.state_dict()))
    return copy


def same(one: LossHistory, other: LossHistory) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(np.array_equal(left[k], right[k], equal_nan=True) for k in left)


def test_a_residual_is_the_loss_less_the_mean_of_its_step():
    losses = history()
    train(losses, 1, (10, 1, 1.0), (11, 1, 3.0))
    assert losses.losses_of(10) == [(1, 1, 1.0, -1.0)]
    assert losses.losses_of(11) == [(1, 1, 3.0, 1.0)]


def test_the_cohort_reaches_back_over_its_steps_and_no_further():
    losses = history(cohort_steps=2)
    train(losses, 1, (1, 1, 100.0))
    train(losses, 2, (2, 1, 1.0))
    train(losses, 3, (3, 1, 3.0))
    train(losses, 9, (4, 1, 5.0))
    assert losses.losses_of(2)[0].residual == 1.0 - 50.5
    assert losses.losses_of(3)[0].residual == 3.0 - 2.0
    assert losses.losses_of(4)[0].residual == 0.0


def test_every_example_counts_equally_whatever_its_length():
    losses = history()
    losses.observe(1, [1, 2], [1, 1], [1.0, 3.0], [1, 999])
    losses.close_step(1)
    assert losses.losses_of(1)[0].residual == -1.0


def test_nothing_is_known_of_a_step_until_it_is_closed():
    losses = history(visits=1)
    observe(losses, 1, [(1, 1, 2.0)])
    assert losses.losses_of(1) == []
    assert losses.completed() == []
    losses.close_step(1)
    assert len(losses.losses_of(1)) == len(losses.completed()) == 1


def test_a_cycle_completes_at_its_last_visit_and_is_reported_once():
    losses = history()
    for step, loss in ((1, 5.0), (2, 3.0), (3, 2.0)):
        assert losses.completed() == []
        train(losses, step, (1, step, loss), (100 + step, 1, 4.0))
    (cycle,) = losses.completed()
    residuals = [5 - 4.5, 3 - 16 / 4, 2 - 22 / 6]
    assert (cycle.exercise, cycle.cycle, cycle.step) == (1, 0, 3)
    assert cycle.mean == pytest.approx(np.mean(residuals))
    assert cycle.spread == pytest.approx(np.std(residuals))
    assert losses.completed() == []


def test_each_exercise_has_cycles_of_its_own():
    losses = history(visits=2)
    for step in range(1, 7):
        train(losses, step, (1, step, 1.0))
    assert [(c.exercise, c.cycle, c.step) for c in losses.completed()] == [(1, 0, 2), (1, 1, 4), (1, 2, 6)]


def test_a_cycle_completes_although_its_visits_come_out_of_order():
    losses = history()
    train(losses, 1, (1, 2, 1.0))
    train(losses, 2, (1, 4, 1.0))
    train(losses, 3, (1, 3, 1.0))
    assert losses.completed() == []
    train(losses, 4, (1, 1, 1.0))
    assert [(c.cycle, c.step) for c in losses.completed()] == [(0, 4)]


def test_two_visits_may_fall_into_one_step():
    losses = history(visits=2)
    train(losses, 1, (1, 2, 3.0), (1, 1, 1.0), (2, 1, 2.0))
    (cycle,) = losses.completed()
    assert (cycle.mean, cycle.spread) == (0.0, 1.0)
    assert [visit.visit for visit in losses.losses_of(1)] == [1, 2]


def test_planted_ones_get_residuals_and_cycles_but_never_move_the_cohort():
    losses = history(visits=1)
    losses.mark_planted([9])
    train(losses, 1, (1, 1, 1.0), (2, 1, 3.0), (9, 1, 1000.0))
    assert losses.losses_of(1)[0].residual == -1.0
    assert losses.losses_of(9)[0].residual == 998.0
    assert [(c.exercise, losses.is_planted(c.exercise)) for c in losses.completed()] == [
        (1, False),
        (2, False),
        (9, True),
    ]


def test_a_step_of_planted_ones_alone_is_compared_with_the_last_cohort():
    losses = history(visits=1, cohort_steps=1)
    losses.mark_planted([8, 9])
    train(losses, 1, (8, 1, 5.0))
    train(losses, 2, (1, 1, 2.0))
    train(losses, 3, (9, 1, 5.0))
    assert math.isnan(losses.losses_of(8)[0].residual)
    assert losses.losses_of(9)[0].residual == 3.0


def test_an_exercise_that_has_counted_cannot_become_planted():
    losses = history()
    train(losses, 1, (1, 1, 1.0))
    with pytest.raises(ValueError, match="exercise 1 cannot be planted"):
        losses.mark_planted([1])


def test_marking_planted_twice_is_fine_even_after_its_losses():
    losses = history()
    losses.mark_planted([1])
    train(losses, 1, (1, 1, 1.0))
    losses.mark_planted([1, 2])
    assert losses.is_planted(1)
    assert losses.is_planted(2)
    assert not losses.is_planted(3)


def test_a_report_that_comes_twice_counts_once():
    losses = history(visits=1)
    for _ in range(2):
        observe(losses, 1, [(1, 1, 1.0), (2, 1, 3.0)])
    losses.close_step(1)
    observe(losses, 1, [(1, 1, 1.0), (2, 1, 3.0)])
    losses.close_step(1)
    assert len(losses.completed()) == 2
    assert losses.losses_of(1) == [(1, 1, 1.0, -1.0)]


@pytest.mark.parametrize(
    ("step", "row", "message"),
    [
        (1, (1, 1, 2.0), "is recorded"),
        (3, (1, 1, 1.0), "is recorded"),
        (1, (5, 1, 1.0), "step 1 is closed"),
        (3, (2, 1, 1.0), "reported for step 2, then for 3"),
        (2, (2, 1, 1.5), "reported for step 2"),
        (3, (3, 1, math.nan), "not finite"),
        (3, (3, 0, 1.0), "count from 1"),
    ],
)
def test_a_contradiction_raises_and_leaves_everything_as_it_was(step, row, message):
    losses = history()
    train(losses, 1, (1, 1, 1.0))
    observe(losses, 2, [(2, 1, 1.0)])
    before = losses.state_dict()
    with pytest.raises(ValueError, match=message):
        observe(losses, step, [(77, 1, 1.0), row] if step > 1 else [row])
    after = losses.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_steps_close_in_order():
    losses = history()
    observe(losses, 2, [(1, 1, 1.0)])
    observe(losses, 3, [(2, 1, 1.0)])
    with pytest.raises(ValueError, match="step 2 holds losses"):
        losses.close_step(3)
    losses.close_step(2)
    losses.close_step(3)
    assert losses.closed == 3


def test_losses_of_an_unknown_exercise_are_none():
    assert history().losses_of(3) == []


def simulate(into: LossHistory, steps: range, exercises: int = 12) -> None:
    """Two ranks; each exercise comes every third step; every fifth exercise is planted."""
    into.mark_planted(range(0, exercises, 5))
    for step in steps:
        generator = np.random.default_rng(step)
        rows = [(e, step // 3 + 1, float(generator.normal(3 / step, 1))) for e in range(step % 3, exercises, 3)]
        observe(into, step, rows[::2])
        observe(into, step, rows[1::2])
        into.close_step(step)


def test_a_copy_through_its_state_continues_identically():
    straight = history()
    simulate(straight, range(1, 40))
    interrupted = history()
    simulate(interrupted, range(1, 20))
    interrupted = copy_of(interrupted)
    simulate(interrupted, range(20, 40))
    assert same(straight, interrupted)
    assert straight.completed() == interrupted.completed()


def test_the_state_carries_what_is_pending_and_not_yet_told():
    losses = history(visits=1)
    train(losses, 1, (1, 1, 1.0))
    observe(losses, 2, [(2, 1, 1.0)])
    copy = copy_of(losses, visits=1)
    copy.close_step(2)
    assert [c.exercise for c in copy.completed()] == [1, 2]


def test_a_state_is_not_touched_by_what_comes_after():
    losses = history()
    simulate(losses, range(1, 9))
    state = losses.state_dict()
    kept = {key: value.copy() for key, value in state.items()}
    losses.void_after(3)
    simulate(losses, range(4, 30))
    assert all(np.array_equal(state[key], kept[key], equal_nan=True) for key in state)


@pytest.mark.parametrize("last", [0, 1, 7, 12, 19, 25])
def test_voided_steps_leave_what_was_there_before_them(last):
    voided, never = history(), history()
    simulate(voided, range(1, 20))
    observe(voided, 21, [(500, 1, 1.0)])
    voided.void_after(last)
    simulate(never, range(1, min(last, 19) + 1))
    if last >= 21:
        observe(never, 21, [(500, 1, 1.0)])
    everyone = range(12)
    assert [voided.losses_of(e) for e in everyone] == [never.losses_of(e) for e in everyone]
    assert voided.completed() == never.completed()
    assert voided.closed == never.closed
    for one in (voided, never):
        one.void_after(19)
        simulate(one, range(min(last, 19) + 1, 30))
    assert voided.completed() == never.completed()
    assert [voided.losses_of(e) for e in everyone] == [never.losses_of(e) for e in everyone]


def test_a_cycle_voided_after_it_was_told_is_told_again_when_it_completes_again():
    losses = history(visits=2)
    train(losses, 1, (1, 1, 1.0))
    train(losses, 2, (1, 2, 1.0))
    assert len(losses.completed()) == 1
    losses.void_after(1)
    assert losses.completed() == []
    train(losses, 2, (1, 2, 4.0))
    assert [(c.exercise, c.cycle, c.step) for c in losses.completed()] == [(1, 0, 2)]
    assert losses.losses_of(1)[1].loss == 4.0


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 20)), max_size=12), min_size=1, max_size=8),
    seed=st.integers(0, 2**32),
)
def test_results_do_not_depend_on_the_order_of_arrival_inside_a_step(steps, seed):
    shuffle = random.Random(seed)
    ordered, shuffled = history(visits=2), history(visits=2)
    visits: dict[int, int] = {}
    for one in (ordered, shuffled):
        one.mark_planted([0])
    for number, drawn in enumerate(steps, start=1):
        rows = []
        for exercise, loss in drawn:
            visits[exercise] = visits.get(exercise, 0) + 1
            rows.append((exercise, visits[exercise], loss))
        observe(ordered, number, rows)
        shuffle.shuffle(rows)
        cut = shuffle.randint(0, len(rows))
        observe(shuffled, number, rows[cut:])
        observe(shuffled, number, rows[:cut])
        for one in (ordered, shuffled):
            one.close_step(number)
    assert repr(ordered.completed()) == repr(shuffled.completed())  # repr: a NaN is equal to itself
    assert all(repr(ordered.losses_of(e)) == repr(shuffled.losses_of(e)) for e in range(7))


def test_growing_beyond_the_first_capacity_loses_nothing():
    losses = history(visits=1)
    for step in range(1, 41):
        train(losses, step, *((100 * step + k, 1, float(k)) for k in range(100)))
    assert len(losses.completed()) == 4000
    assert losses.losses_of(101) == [(1, 1, 1.0, 1 - 49.5)]
    assert losses.losses_of(4099)[0].loss == 99.0


def test_logarithms_compare_losses_by_their_ratio_however_low_they_are():
    history = LossHistory(DynamicsConfig(measure="log_loss", visits=1))
    history.observe(1, [1, 2], [1, 1], [1.0, 4.0], [5, 5])
    history.close_step(1)
    history.observe(100, [3, 4], [1, 1], [0.1, 0.4], [5, 5])
    history.close_step(100)
    means = [cycle.mean for cycle in history.completed()]
    assert means[1] == pytest.approx(0.5 * np.log(4), abs=0.01)
    assert means[3] == pytest.approx(means[1], abs=0.05)  # the floor takes a little of it away


def test_a_loss_of_nothing_has_a_finite_logarithm():
    history = LossHistory(DynamicsConfig(measure="log_loss", visits=1))
    history.observe(1, [1, 2], [1, 1], [0.0, 1.0], [5, 5])
    history.close_step(1)
    assert all(np.isfinite(cycle.mean) for cycle in history.completed())
