from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.scaling import PoolBounds, Scaler


def scaler(least: int = 0, most: int = 8) -> Scaler:
    return Scaler(PoolBounds(least=least, most=most, in_flight=10, cool_s=30.0))


def test_the_first_request_starts_a_replica_and_a_long_queue_doubles_them() -> None:
    own = scaler()
    assert own.wanted(0, 0, 0.0) == 0
    assert own.wanted(1, 0, 0.0) == 1
    assert [own.wanted(1000, running, 0.0) for running in (1, 2, 4, 8)] == [2, 4, 8, 8]


def test_replicas_go_one_by_one_once_fewer_have_done_for_a_while() -> None:
    own = scaler(least=1)
    assert own.wanted(0, 3, 0.0) == 3
    assert own.wanted(0, 3, 29.0) == 3
    assert own.wanted(0, 3, 30.0) == 2
    assert own.wanted(0, 2, 31.0) == 2
    assert own.wanted(0, 2, 60.0) == 1
    assert own.wanted(0, 1, 1000.0) == 1


def test_a_burst_of_work_resets_the_patience() -> None:
    own = scaler()
    assert own.wanted(0, 1, 0.0) == 1
    assert own.wanted(15, 1, 20.0) == 1
    assert own.wanted(0, 1, 40.0) == 1
    assert own.wanted(0, 1, 70.0) == 0


@given(st.integers(0, 3), st.integers(1, 9), st.lists(st.tuples(st.integers(0, 500), st.floats(0, 60)), max_size=40))
def test_the_pool_stays_within_its_bounds_and_never_leaves_work_without_a_replica(
    least: int, most: int, steps: list[tuple[int, float]]
) -> None:
    most = max(most, least)
    own, running, now = scaler(least, most), least, 0.0
    for backlog, passed in steps:
        now += passed
        running = own.wanted(backlog, running, now)
        assert least <= running <= most
        assert running >= 1 or backlog == 0
