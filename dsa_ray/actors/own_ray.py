"""A Ray of our own on this machine, for a run that joins no cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import ray_constants

LOOPBACK = {
    ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",
    "GLOO_SOCKET_IFNAME": "lo",
    "VLLM_HOST_IP": "127.0.0.1",
}
"""What Ray's processes, ranks and replicas inherit."""
TASKS_REMEMBERED = 10_000
"""So many tasks and calls the dashboard can show. Ray's control process keeps 2.4 KB of each."""


def start_ray(cpus: float | None, **options: Any) -> None:
    """Start it and connect to it; all of its processes listen on loopback only. Without a token: none is asked for.

    Args:
        cpus: that it may give out; none: those that this process may use.
        options: of `ray.init`.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    own = max(1, int(cpus or len(os.sched_getaffinity(0))))
    with on_loopback():
        # Without `local` Ray joins whatever a `ray start` left on this machine, dead or alive.
        remembered = {"task_events_max_num_task_in_gcs": TASKS_REMEMBERED}
        ray.init(address="local", num_cpus=own, log_to_driver=False, _system_config=remembered, **options)


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """What is started meanwhile listens on loopback; joining such a Ray takes the same.

    By default Ray's servers and workers listen on all addresses, and whoever reaches one may run code.
    There is a switch for systems on which Ray forms no clusters; 127.0.0.1 as the address of a node would be replaced.
    This process has read it already, and may join a real cluster later.
    """
    before = {name: os.environ.get(name) for name in LOOPBACK}, ray_constants.ENABLE_RAY_CLUSTER
    os.environ.update(LOOPBACK)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        inherited, ray_constants.ENABLE_RAY_CLUSTER = before
        for name, value in inherited.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
