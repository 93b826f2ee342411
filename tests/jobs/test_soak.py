"""The soak's arithmetic, and that it sees memory which a process takes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.jobs.test_train_throughput import BENCH, run_python

MIB = 2**20


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCH))
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


@pytest.mark.slow
def test_a_short_soak_goes_through_the_real_ring_and_tells_what_each_process_holds() -> None:
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); import soak; soak.EVERY_S = 0.2; soak.main()"
    result = run_python(script, str(BENCH), "--quick", "--exercises", "15000", timeout=600)
    assert result.returncode == 0, result.stderr[-2000:]
    figures = json.loads(result.stdout.splitlines()[-1])["figures"]
    assert figures["exercises"] >= 15_000
    assert figures["losses"] > figures["exercises"]  # more than one visit each, as far as training has come
    assert figures["verdicts"] > 0
    assert {"curator", "recorder", "replica", "examiner", "driver", "ray"} <= set(figures["roles"])
