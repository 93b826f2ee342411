"""The soak's arithmetic, and that it sees memory which a process takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

MIB = 2**20


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "jobs" / "bench"))
    before = set(sys.modules)
    import soak

    yield soak
    for name in {"soak", "_paced", "_paced_teacher", "_result"} - before:
        sys.modules.pop(name, None)


def test_a_level_is_the_median_of_its_window_and_of_processes_that_were_there(soak: ModuleType) -> None:
    samples = [(count, {"recorder": 100 + count}) for count in range(0, 1001, 10)]
    samples[15][1]["recorder"] = 10**9  # one odd sample
    samples[12][1]["reader"] = 7
    assert soak._level(samples, 0.1, 0.2) == {"recorder": 260, "reader": 7}
    assert soak._count(samples, 0.9, 1.0) == 950


def test_memory_that_a_process_takes_for_itself_is_counted(soak: ModuleType) -> None:
    before = soak._own_bytes(os.getpid())
    held = bytearray(os.urandom(64 * MIB))
    grown = soak._own_bytes(os.getpid()) - before
    assert 60 * MIB < grown < 80 * MIB
    assert len(held) == 64 * MIB
