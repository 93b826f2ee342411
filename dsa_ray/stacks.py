"""What every process of a run is doing, for whoever has to find out why it is stuck."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.state import list_actors, list_tasks

STACK_S = 10.0
"""One stack takes no longer."""
LIST_S = 10
MOST_LINES = 120


def processes() -> list[dict[str, Any]]:
    """Actors and running tasks of this cluster: name, state, process, and the Python stacks of those on this machine.

    Never raises and never waits long: what cannot be had is named in its place.
    """
    if not ray.is_initialized():
        return []
    try:
        found = _listed()
    except (RayError, RuntimeError, OSError) as error:
        return [{"name": "ray", "state": f"cannot be asked: {str(error).splitlines()[0][:200]}"}]
    here = ray.get_runtime_context().get_node_id()
    local = [each for each in found if each["node"] == here and each["pid"]]
    with ThreadPoolExecutor(max_workers=4) as pool:
        for each, stack in zip(local, pool.map(lambda one: _stack(one["pid"]), local), strict=True):
            each["process"] = _process_state(each["pid"])
            each["stack"] = stack
    return found


def _listed() -> list[dict[str, Any]]:
    address = ray.get_runtime_context().gcs_address
    actors = list_actors(address=address, detail=True, timeout=LIST_S, filters=[("state", "!=", "DEAD")])
    tasks = list_tasks(address=address, detail=True, timeout=LIST_S, filters=[("state", "=", "RUNNING")])
    found = [
        {"name": actor.name or actor.class_name, "state": actor.state, "pid": actor.pid, "node": actor.node_id}
        for actor in actors
    ]
    known = {each["pid"] for each in found}
    return found + [
        {"name": task.name, "state": task.state, "pid": task.worker_pid, "node": task.node_id}
        for task in tasks
        if task.worker_pid not in known
    ]


def _process_state(pid: int) -> str:
    """As the kernel names it: `S (sleeping)`, `T (stopped)`, ..."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return "gone"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("State:")), "unknown")


def _stack(pid: int) -> list[str]:
    tool = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if tool is None:
        return ["py-spy is not installed"]
    command = [tool, "dump", "--nonblocking", "--pid", str(pid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STACK_S, check=False)
    except subprocess.TimeoutExpired:
        return [f"py-spy gave no answer within {STACK_S:g} s"]
    return (done.stdout or done.stderr).splitlines()[:MOST_LINES]
