"""Whatever a rank reports: what is wrong is counted and refused, and the run goes on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.records import RowPlan
from tests.curriculum.simulation import World, small_config


def training(**sections: dict[str, Any]) -> tuple[World, int, list[RowPlan]]:
    """A world in the middle of its exercises, with the leased rows of rank 0's next step."""
    world = World(small_config(train={"ranks": 1}, **sections))
    world.curator.start()
    attempt = world.curator.begin_attempt()
    for _ in range(200):
        world.write(8)
        rows = world.curator.lease_rows(0, attempt, 1) or []
        if rows and rows[0].phase == "exercises":
            return world, attempt, rows
        if rows:
            world.observe(0, attempt, rows)
    raise AssertionError("no exercises came")


def report(world: World, current: int, rows: list[RowPlan], **changes: Any) -> bool:
    ids = [item.exercise for item in rows[0].items]
    told = {"rank": 0, "attempt": current, "step": rows[0].step, "leases": [row.lease for row in rows]}
    told |= {"ids": np.array(ids), "losses": np.full(len(ids), 1.5)}
    return world.curator.observe(**{**told, **changes})


def visits(world: World, exercise: int) -> int:
    return len(world.curator.history.losses_of(exercise))


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("old_attempt", {"attempt": 0}),
        ("repeated", {"leases": [9_999]}),
        ("repeated", {"leases": []}),
        ("repeated", {"rank": -1}),
        ("wrong_step", {"step": 10_000}),
        ("malformed", {"losses": np.zeros(0)}),
        ("malformed", {"losses": ["a", "b"]}),
        ("malformed", {"ids": np.array([[1], [2]])}),
        ("malformed", {"losses": [[1.0], [1.0, 2.0]]}),
    ],
)
def test_a_report_that_cannot_count_is_refused_whole_and_may_come_again(reason: str, changes: dict[str, Any]):
    world, attempt, rows = training()
    assert not report(world, attempt, rows, **changes)
    assert world.curator.status()["refused"][reason] >= 1
    assert report(world, attempt, rows)


def test_a_report_that_comes_twice_counts_once():
    world, attempt, rows = training()
    assert report(world, attempt, rows)
    assert not report(world, attempt, rows)
    assert visits(world, rows[0].items[0].exercise) == 1
    assert world.curator.status()["refused"] == {"repeated": len(rows[0].items)}


def test_losses_of_unknown_ids_and_repeated_visits_are_left_out_and_the_step_closes():
    world, attempt, rows = training()
    ids = [item.exercise for item in rows[0].items]
    told = np.array([*ids, 10**12, -5, ids[0]])
    assert report(world, attempt, rows, ids=told, losses=np.arange(len(told), dtype=float))
    assert world.curator.status()["refused"] == {"unknown_id": 2, "repeated_visit": 1}
    assert world.curator.history.losses_of(ids[0])[0].loss == 0.0
    assert world.curator.status()["step"] == rows[0].step


def test_a_loss_that_is_no_number_never_enters_a_mean_and_its_exercise_is_not_offered_again():
    world, attempt, rows = training()
    ids = [item.exercise for item in rows[0].items]
    losses = np.full(len(ids), 1.5)
    losses[0] = math.nan
    report(world, attempt, rows, losses=losses)
    assert visits(world, ids[0]) == 0
    assert world.curator.history.losses_of(ids[1])[0].residual == 0.0
    assert any(f"not_finite: 1 (exercises {ids[0]})" in line for line in world.curator.warnings())
    assert ids[0] not in world.curator.sampler.peek(10_000, 10_000).tolist()
    told = [event for event in world.events if event["event"] == "refused"]
    assert [(event["reason"], event["ids"]) for event in told] == [("not_finite", [ids[0]])]


def test_a_loss_below_zero_is_refused_and_its_exercise_comes_again():
    world, attempt, rows = training()
    ids = [item.exercise for item in rows[0].items]
    losses = np.ones(len(ids))
    losses[:2] = -0.5, -1e-7
    report(world, attempt, rows, losses=losses)
    assert world.curator.history.losses_of(ids[0]) == []
    assert len(world.curator.history.losses_of(ids[1])) == 1
    assert world.curator.refused.counts == {"negative": 1}
    assert not world.curator.sampler.dropped


def test_steps_that_are_reported_out_of_order_close_in_order():
    world = World(small_config(train={"ranks": 1}))
    world.curator.start()
    attempt = world.curator.begin_attempt()
    while not (rows := world.curator.lease_rows(0, attempt, 2)) or len(rows) < 2:
        world.write(8)
    first, second = rows
    world.observe(0, attempt, [second])
    assert world.curator.status()["step"] == 0
    world.observe(0, attempt, [first])
    assert world.curator.status()["step"] == 2


def test_a_policy_that_would_drop_everything_is_stopped_by_its_cap_with_a_warning():
    """Every exercise behaves like the planted wrong answers: the loss neither falls nor moves."""
    world = World(small_config(dynamics={"drop_cap": 0.05, "planted_min": 16}), hard=1)
    world.run()
    curator = world.curator
    curator.policy._config = world.config.dynamics
    dropped_all(world)
    assert curator.dropped / len(curator.table) <= 0.05
    assert curator.capped > 0
    assert any("drop_cap" in line for line in curator.warnings())


def dropped_all(world: World) -> None:
    """Hand every exercise's verdict to the curator as `erroneous`, as a judge gone wrong would."""
    from dsa_ray.records import Verdict, VerdictClass

    for exercise in list(world.curator.table.ids()):
        world.curator._carry_out(
            Verdict(
                exercise=exercise,
                cycle=99,
                step=world.curator.ledger.closed_step,
                verdict=VerdictClass.ERRONEOUS,
                mean_loss=9.0,
                loss_spread=0.0,
                reason="test",
            )
        )


def test_a_clock_that_leaps_takes_no_request_from_a_replica():
    world = World(small_config())
    world.curator.start()
    held = world.curator.lease_requests("r0", "1", 1)
    world.now += 1e9
    world.curator.lease_requests("r1", "1", 64)
    world.now -= 2e9
    world.curator.lease_requests("r1", "1", 64)
    assert world.curator.supply.book.outstanding >= 1
    assert held[0].request.id in world.curator.supply.book._leased
    assert world.curator.supply.book._leased[held[0].request.id].replica == "r0"
    assert any("clock jumped 2 times" in line for line in world.curator.warnings())


@settings(max_examples=30, deadline=None)
@given(
    ids=st.lists(st.integers(-(2**62), 2**62), max_size=6),
    losses=st.lists(st.floats(), max_size=6),
    step=st.integers(-3, 2**40),
    leases=st.lists(st.integers(-3, 60), max_size=3),
)
def test_no_report_breaks_the_curator(ids: list[int], losses: list[float], step: int, leases: list[int]):
    world, attempt, rows = training()
    world.curator.observe(0, attempt, step, leases, np.array(ids, "i8"), np.array(losses))
    own = [item.exercise for item in rows[0].items]
    count = min(len(own), len(losses))
    world.curator.observe(
        0, attempt, rows[0].step, [rows[0].lease], np.array(own[:count], "i8"), np.array(losses[:count])
    )
    for exercise in own:
        assert all(math.isfinite(visit.residual) for visit in world.curator.history.losses_of(exercise))
