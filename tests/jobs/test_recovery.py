"""The recovery benchmark's arithmetic: from samples and events to seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

MODULES = {"recovery", "_watched", "_paced", "_paced_teacher", "_result"}


@pytest.fixture
def recovery(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "jobs" / "bench"))
    before = set(sys.modules)
    import recovery

    yield recovery
    for name in MODULES - before:
        sys.modules.pop(name, None)


def test_a_rate_is_back_when_as_much_is_accepted_from_there_on(recovery: ModuleType) -> None:
    def written(second: int) -> int:
        return 30 * min(second, 100) + 30 * max(0, second - 107)  # nothing is accepted from 100 s to 107 s

    samples = [recovery.Sample(float(second), written(second), 1) for second in range(130)]
    assert recovery.rate_back(samples, 100.0) == 6.0  # one second of ten may be missing
    assert recovery.rate_back(samples[:116], 100.0) is None
    assert recovery.written_at(samples, 99.5) == 99 * 30
    assert recovery.written_at(samples, -1.0) == 0


def test_idle_time_counts_between_two_times_only(recovery: ModuleType) -> None:
    lines = [{"time": float(n), "time/wait": 0.1 if n > 5 else 0.0, "time/step": 0.3} for n in range(11)]
    assert recovery.idle_share(lines, 0.0, 5.0) == 0.0
    assert recovery.idle_share(lines, 5.0, 10.0) == pytest.approx(0.25)
    assert recovery.idle_share(lines, 20.0, 30.0) == 0.0


def test_the_first_step_is_that_of_the_attempt_which_began_after_a_fault(recovery: ModuleType) -> None:
    from _watched import first_step

    events = [
        {"event": "attempt", "at": 1.0, "step": 0},
        *({"event": "observe", "at": 1.0 + step, "step": step} for step in range(1, 5)),
        {"event": "attempt", "at": 9.0, "step": 3},
        {"event": "observe", "at": 11.0, "step": 4},
    ]
    assert first_step(iter(events), 0.0) == (2.0, 0)
    assert first_step(iter(events), 6.0) == (11.0, 3)
    assert first_step(iter(events[:-1]), 6.0) is None
