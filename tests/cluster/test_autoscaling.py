"""Replicas that bring their nodes and let them go again: real Ray, its autoscaler, and nodes that are processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from dsa_ray.config import Config, parse
from dsa_ray.placement import PlacementError
from dsa_ray.report.logs import processes
from dsa_ray.ring import Ring
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.run_folder import RunFolder
from tests.cluster.scaled import scaled_cluster
from tests.test_ring import small

pytestmark = [pytest.mark.ring, pytest.mark.slow, pytest.mark.timeout(900)]
GENERATOR = "generator"
OWN_S = 2.0
"""What may pass on our side between a backlog and the first answer of a replica that it brought."""
WAIT_S = 200.0
GROUPS = {"core": "head", "rank": "head", "student": "head", "teacher": GENERATOR}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    with scaled_cluster(tmp_path, {"CPU": 4, "head": 1}, {GENERATOR: ({"CPU": 2, GENERATOR: 1}, 2)}) as address:
        yield address
        ray.shutdown()


def elastic(folder: Path, address: str, **groups: str) -> Config:
    data = small(folder, ranks=1, steps=100_000).model_dump()
    data["teacher"]["factory"] = "tests.cluster.slow_writer:slow_writer"
    data["generate"] |= {
        "replicas": 2,
        "min_replicas": 0,
        "in_flight": 4,
        "slots": 32,
        "max_exercises": 240,
        "exercises_per_skill": 30,
    }
    data["dynamics"] |= {"visit_cap": 10_000}
    data["cluster"] |= {"address": address, "cpus": 8, "groups": GROUPS | groups, "placement_timeout_s": 10.0}
    return parse(data)


def test_a_backlog_brings_nodes_and_replicas_and_lets_them_go_while_training_goes_on(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = elastic(tmp_path, cluster)
    with RunFolder.create(config.run.storage, config) as folder:
        ring = Ring(config, folder, config.student.model, ())
        try:
            ring.start()
            ring.begin_training()
            watch = _Watch(ring, folder)
            watch.until("a replica to be asked for", lambda status: len(ring._pool.replicas) > 0)
            watch.until("a node", lambda status: generators() == 1)
            watch.until("its replica", lambda status: watch.started() is not None)
            watch.until("its engine", lambda status: any(stats["ready"] for stats in ring.replica_stats()))
            watch.until("its first answer", lambda status: any(stats["answers"] for stats in ring.replica_stats()))
            watch.until("two replicas on two nodes", lambda status: generators() == len(ring._pool.replicas) == 2)
            watch.until("no backlog", lambda status: status["backlog"] == [0])
            reached = watch.until("no replica", lambda status: not ring._pool.replicas)["step"]
            gone = watch.until("no node", lambda status: generators() == 0)["step"]
            watch.until("training to go on", lambda status: status["step"] >= gone + 30)
            assert gone > reached > 0
        finally:
            ring.stop()
    with capsys.disabled():
        print("\n" + watch.told())
    assert watch.own_s() <= OWN_S


def test_what_an_autoscaler_does_not_bring_is_named(cluster: str, tmp_path: Path) -> None:
    config = elastic(tmp_path, cluster, rank="trainer")
    with RunFolder.create(config.run.storage, config) as folder:
        ring = Ring(config, folder, config.student.model, ())
        began = time.monotonic()
        try:
            with pytest.raises(
                PlacementError, match=r"1 of rank .* 'trainer', and none does; .*\(waited 10 s, cluster\."
            ):
                ring.start()
        finally:
            ring.stop()
    assert time.monotonic() - began < 60.0


def generators() -> int:
    return sum(node["Alive"] and GENERATOR in node["Resources"] for node in ray.nodes())


class _Watch:
    """Tends a ring, and notes when what was waited for came."""

    def __init__(self, ring: Ring, folder: RunFolder) -> None:
        self._ring, self._folder = ring, folder
        self._at: dict[str, float] = {}
        while sum(ring.status()["backlog"]) == 0:
            time.sleep(0.05)
        self._began = time.time()

    def until(self, what: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while not reached(status := self._ring.tend()):
            assert time.monotonic() < deadline, f"no {what}: {status}"
            time.sleep(0.1)
        self._at[what] = time.time() - self._began
        if what == "its replica":
            self._at[what] = self.started() - self._began
        return status

    def started(self) -> float | None:
        """When the first replica's process was there."""
        noted = [each for each in processes(Folder(self._folder.path)) if each.name.startswith("teacher")]
        return noted[0].started if noted else None

    def own_s(self) -> float:
        """From the backlog to the request for a replica, and from its engine to its first answer."""
        return self._at["a replica to be asked for"] + self._at["its first answer"] - self._at["its engine"]

    def told(self) -> str:
        lines = [f"  {what:<30}{seconds:>8.1f} s after the backlog" for what, seconds in self._at.items()]
        return "\n".join([*lines, f"  {'ours of it':<30}{self.own_s():>8.1f} s"])
