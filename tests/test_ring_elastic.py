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
from dsa_ray.ring import Ring
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
        finally:
            ring.stop()
    assert facts["status"]["refused"].get("repeated", 0) == 0
    replayed = local.replay(folder, config.student.model)
    assert grown < replayed.steps <= facts["status"]["step"]  # the last steps' events may not have been written
    assert replayed.worst_loss_error < 1e-4
    assert replayed.verdicts == replayed.recorded != {}


def wait(ring: Ring, until: Callable[[dict[str, Any]], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not ((status := ring.status()).get("train") and until(status)):
        assert status["failure"] is None
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
