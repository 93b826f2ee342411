"""A cluster on this machine whose nodes are processes, with Ray's own autoscaler over them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray

from tests.test_job_cluster import free_port, ray_folder, wait_for_port

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).parent / "ray")
STORE_BYTES = 200 * 2**20
"""Object store of a node."""
EMPTY = ("auth", "docker", "file_mounts", "head_node", "worker_nodes")
NONE = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter"),
)


@contextmanager
def scaled_cluster(
    folder: Path, head: dict[str, float], nodes: dict[str, tuple[dict[str, float], int]]
) -> Iterator[str]:
    """Start it; gives its address.

    Args:
        folder: for its configuration.
        head: resources of its head.
        nodes: kinds of further nodes: the resources of one, and how many there may be at most.
    """
    port = free_port()
    config = folder / "autoscaler.json"
    address = f"{ray.util.get_node_ip_address()}:{port}"
    config.write_text(json.dumps(_config(address, nodes)))
    own = {name: amount for name, amount in head.items() if name != "CPU"}
    command = [RAY, "start", "--head", "--block", f"--port={port}", f"--num-cpus={head['CPU']:g}"]
    command += [f"--resources={json.dumps(own)}", f"--autoscaling-config={config}", "--disable-usage-stats"]
    command += [f"--object-store-memory={STORE_BYTES}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={free_port()}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with ray_folder() as rays, open(folder / "head.txt", "w") as output:
        environment["RAY_TMPDIR"] = rays
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            wait_for_port(port)
            time.sleep(2.0)
            yield address
        finally:
            _end(process)


def _end(head: subprocess.Popen[bytes]) -> None:
    """The head, and the nodes that its autoscaler started, which nobody else would end."""
    started = psutil.Process(head.pid).children(recursive=True)
    head.send_signal(signal.SIGTERM)
    head.wait(timeout=60)
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(started, timeout=30)


def _config(address: str, nodes: dict[str, tuple[dict[str, float], int]]) -> dict[str, Any]:
    kinds = {
        name: {
            "resources": {**resources, "object_store_memory": STORE_BYTES},
            "node_config": {},
            "min_workers": 0,
            "max_workers": most,
        }
        for name, (resources, most) in nodes.items()
    }
    kinds["ray.head.default"] = {"resources": {}, "node_config": {}, "max_workers": 0}
    return {
        "cluster_name": "scaled",
        "max_workers": sum(most for _, most in nodes.values()),
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,  # all nodes have one address
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": kinds,
        "head_node_type": "ray.head.default",
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        "file_mounts_sync_continuously": False,
        **{name: {} for name in EMPTY},
        **{name: [] for name in NONE},
    }
