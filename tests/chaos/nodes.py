"""A Ray cluster on this machine whose nodes are processes: one can be lost with all that is on it, and another come."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from unittest import mock

import psutil
from ray.cluster_utils import Cluster

from dsa_ray.sections import Group
from tests.chaos.schedules import NODES

HEAD = "head"
GROUPS: dict[Group, str] = {"core": HEAD, "student": HEAD, **{name: name for name in NODES}}
"""`cluster.groups`."""
CPUS = 4
"""Of each node; a run gives out `RUN_CPUS` of them."""
RUN_CPUS = 2
WORKER = "ray::"
"""How the title of a worker begins."""
RAYS_OWN = tuple(
    WORKER + name
    for name in (
        *("IDLE", "DashboardAgent", "RuntimeEnvAgent", "ActorLocationTracker", "TrainStateActor"),
        *("_StatsActor", "_AutoscalingCoordinatorActor", "_UsageCollectionActor"),
    )
)
"""Of those that belong to the cluster and outlive every run on it: agents, and detached actors of its libraries."""


class Nodes:
    """Head and one node for each of `NODES`; their processes have the given environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        with mock.patch.dict(os.environ, environment):
            self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": CPUS, "resources": {HEAD: 1}})
        self._nodes = {name: self._add(name) for name in NODES}

    @property
    def address(self) -> str:
        return self._cluster.address

    def workers(self) -> list[psutil.Process]:
        """Processes of actors and tasks that live now; one that has just begun may turn out to be the cluster's own."""
        found = []
        for node in (self._cluster.head_node, *self._nodes.values()):
            for process in psutil.Process(_raylet(node)).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    title = " ".join(process.cmdline())
                    if title.startswith(WORKER) and not title.startswith(RAYS_OWN):
                        found.append(process)
        return found

    def lose(self, name: str, seconds: float) -> None:
        """All processes of the node end at once, as when its machine does; another one comes after so long."""
        node = self._nodes[name]
        raylet = psutil.Process(_raylet(node))
        for process in [raylet, *raylet.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._cluster.remove_node(node, allow_graceful=False)
        time.sleep(seconds)
        self._nodes[name] = self._add(name)

    def close(self) -> None:
        self._cluster.shutdown()

    def _add(self, name: str) -> object:
        with mock.patch.dict(os.environ, self._environment):
            return self._cluster.add_node(num_cpus=CPUS, resources={name: 1})


def _raylet(node: object) -> int:
    return node.all_processes["raylet"][0].process.pid
