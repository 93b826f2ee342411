"""Ranks that come and go with their nodes: real Ray Train and DeepSpeed on a cluster of nodes that are processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from dsa_ray import local
from dsa_ray.config import parse
from dsa_ray.curriculum.host import EVENTS
from dsa_ray.ring import Ring
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from tests.test_ring import DEADLINE_S, small

pytestmark = [pytest.mark.ring, pytest.mark.slow, pytest.mark.timeout(700)]
NODE = {"num_cpus": 2, "resources": {"trainer": 1}}
"""Room for one rank, whose share is more than one CPU."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "resources": {"head": 1}})
    ray.init(address=started.address, log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()


def test_training_goes_on_with_more_ranks_and_with_fewer(cluster: Cluster, tmp_path: Path) -> None:
    groups = {"rank": "trainer", "teacher": "head", "student": "head", "core": "head"}
    data = small(tmp_path, steps=100_000).model_dump()
    data["train"] |= {"min_ranks": 1, "resize_check_s": 2.0}
    data["cluster"]["groups"] = groups
    config = parse(data)
    first = cluster.add_node(**NODE)
    with RunFolder.create(config.run.storage, config) as folder:
        ring = Ring(config, folder, config.student.model, ())
        try:
            ring.start()
            ring.begin_training()
            wait(ring, lambda status: status["step"] > 30 and status["train"]["ranks"] == 1)
            cluster.add_node(**NODE)
            wait(ring, lambda status: status["attempt"] == 2 and status["train"]["ranks"] == 2)
            grown = ring.status()["step"]
            wait(ring, lambda status: status["step"] > grown + 30)
            cluster.remove_node(first)
            reached = ring.status()["step"]
            wait(ring, lambda status: status["attempt"] >= 3 and status["step"] > reached + 10)
            assert ring.status()["train"]["ranks"] == 1
            facts = ring.facts()
            deadline = time.monotonic() + DEADLINE_S
            while steps_told(folder) < facts["status"]["step"]:
                assert time.monotonic() < deadline
                time.sleep(0.5)
        finally:
            ring.stop()
    assert facts["status"]["refused"].get("repeated", 0) == 0
    replayed = local.replay(folder, config.student.model)
    assert replayed.steps >= facts["status"]["step"]
    assert replayed.worst_loss_error < 1e-4
    assert replayed.verdicts == replayed.recorded != {}


def steps_told(folder: RunFolder) -> int:
    """The last step of the last attempt of which the journal tells."""
    told = [row for _, rows in iter_segments(folder.journal, EVENTS) for row in rows]
    last = max(place for place, row in enumerate(told) if row["event"] == "attempt")
    return max((row["step"] for row in told[last:] if row["event"] == "observe"), default=0)


def wait(ring: Ring, until: Callable[[dict[str, Any]], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not ((status := ring.status()).get("train") and until(status)):
        assert status["failure"] is None
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
