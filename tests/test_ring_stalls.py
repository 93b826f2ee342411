"""Waits that would never end: each is named within its deadline, and healed where that is possible."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from dsa_ray.ring import Ring, _answer
from dsa_ray.stacks import processes
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.streams.training import _read_rows
from dsa_ray.watchdog import Stalled
from tests.test_ring import DEADLINE_S, small

pytestmark = [pytest.mark.ring, pytest.mark.timeout(280)]


@ray.remote(num_cpus=0)
class Mute:
    """A curator that has nothing to train on, in a process that can be stopped."""

    def pid(self) -> int:
        return os.getpid()

    def open_rows(self, rank: int) -> tuple[int, int]:
        return 1, 1

    def lease_rows(self, rank: int, attempt: int, n: int, reader: int, call: int) -> list[object]:
        return []


@pytest.fixture
def cluster() -> Iterator[None]:
    ray.init(address="local", num_cpus=1, include_dashboard=True, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("cluster")
def test_a_reader_that_gets_nothing_and_an_actor_that_is_stopped_are_named(tmp_path: Path):
    curator = Mute.options(name="run/curator").remote()
    pid = ray.get(curator.pid.remote())
    with pytest.raises(TimeoutError, match="rank 0: nothing to train on for 1 s; is the teacher writing"):
        list(_read_rows(curator, 0, str(tmp_path), 128, (1.0, 1.0)))
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Stalled, match="the curator has not answered for 1 s"):
            _answer(curator.pid.remote(), "the curator", 1.0)
        (found,) = [each for each in processes() if each["name"] == "run/curator"]
        assert found["pid"] == pid
        assert found["state"] == "ALIVE"
        assert found["process"].startswith("T")
        assert any("MainThread" in line or "py-spy" in line for line in found["stack"])
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_replica_that_is_stopped_is_replaced_and_the_run_goes_on(tmp_path: Path):
    config = small(tmp_path, steps=90)
    watch = config.watch.model_copy(update={"silent_s": 5.0})
    config = config.model_copy(update={"watch": watch})
    stopped: list[int] = []
    with RunFolder.create(config.run.storage, config) as folder:
        ring = Ring(config, folder, config.student.model, ())
        try:
            ring.start()
            ring.begin_training()
            deadline = time.monotonic() + DEADLINE_S
            while not ring.training_over():
                assert time.monotonic() < deadline, ring.status()
                ring.tend()
                replicas = ring.replica_stats()
                if replicas and not stopped and ring.status()["written"] >= 10:
                    stopped.append(pid_of(f"{config.run.name}/teacher-0"))
                    os.kill(stopped[0], signal.SIGSTOP)
                time.sleep(0.2)
            facts = ring.facts()
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            ring.stop()
    assert stopped
    assert any("ended and replaced" in note for note in ring.notes)
    assert facts["status"]["step"] == facts["status"]["steps"]
    assert len(facts["exercises"]) > 10


def pid_of(name: str) -> int:
    (found,) = [each for each in processes() if each["name"] == name]
    return found["pid"]
