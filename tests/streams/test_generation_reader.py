"""The reader of an outbox, without Ray."""

import time

import pytest

from dsa_ray.streams.generation import BATCHES, FIRST_S, SHORTEST_S, StreamPlan, _Poll, opening_s


def test_an_opening_lasts_as_long_as_time_passes_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = _Poll("teacher-0", 0, StreamPlan(opened=1, reopen_s=600.0))
    now, monotonic = time.time(), time.monotonic()
    for jump in (-1e6, 1e6):
        monkeypatch.setattr("time.time", lambda jump=jump: now + jump)
        assert not poll.late
    monkeypatch.setattr("time.monotonic", lambda: monotonic + 601.0)
    assert poll.late


@pytest.mark.parametrize(
    ("batches", "seconds", "expected"),
    [
        (0, 0.0, FIRST_S),  # the first
        (10 * BATCHES, 300.0, SHORTEST_S),
        (2 * BATCHES, 300.0, 150.0),
        (BATCHES // 10, 300.0, 600.0),
        (0, 300.0, 600.0),
        (BATCHES, 1e-6, SHORTEST_S),
    ],
)
def test_an_opening_lasts_as_long_as_its_batches_are_not_too_many(batches: int, seconds: float, expected: float):
    assert opening_s(StreamPlan(reopen_s=600.0), batches, seconds) == pytest.approx(expected)
    assert opening_s(StreamPlan(reopen_s=6.0), batches, seconds) == 6.0
