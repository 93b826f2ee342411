"""The reader of an outbox, without Ray."""

import time

import pytest

from dsa_ray.streams.generation import StreamPlan, _Poll


def test_an_opening_lasts_as_long_as_time_passes_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = _Poll("teacher-0", 0, StreamPlan(opened=1, reopen_s=600.0))
    now, monotonic = time.time(), time.monotonic()
    for jump in (-1e6, 1e6):
        monkeypatch.setattr("time.time", lambda jump=jump: now + jump)
        assert not poll.late
    monkeypatch.setattr("time.monotonic", lambda: monotonic + 601.0)
    assert poll.late
