"""What a machine or a cluster offers, found without importing Ray or torch."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterShape:
    """What a cluster offers.

    Example:
        ClusterShape(cpus=256, gpus=16, memory_gib=2000, nodes=3, node_gpus=(8, 8, 0))
    """

    cpus: float
    gpus: int = 0
    memory_gib: float = 0.0
    """Of all nodes together; 0 = not known."""
    nodes: int = 1
    node_gpus: tuple[int, ...] = ()
    """GPUs of each node; empty = spread evenly."""
    gpu_gib: float = 0.0
    """Memory of one GPU; 0 = not known."""
    resources: frozenset[str] | None = None
    """Names of Ray resources that its nodes offer; None = not known."""

    def cards(self) -> list[int]:
        """GPUs per node, as a list."""
        if self.node_gpus:
            return list(self.node_gpus)
        each, more = divmod(self.gpus, self.nodes)
        return [each + (1 if node < more else 0) for node in range(self.nodes)]


def shape_of(text: str) -> ClusterShape:
    """A shape in words, for planning on a cluster that is not at hand: `cpus=96,gpus=8,gpu_gib=80`.

    Raises:
        ValueError: one line that names what is wrong.
    """
    given: dict[str, float] = {}
    for part in text.split(","):
        name, sign, value = (word.strip() for word in part.partition("="))
        if not sign or name not in _SHAPE_WORDS:
            raise ValueError(f"{part.strip()!r}: write it as cpus=96,gpus=8; known are {', '.join(_SHAPE_WORDS)}")
        try:
            given[name] = _SHAPE_WORDS[name](value)
        except ValueError:
            raise ValueError(f"{part.strip()!r}: {value!r} is no number") from None
        if not 0 <= given[name] < float("inf"):
            raise ValueError(f"{part.strip()!r}: must be 0 or more")
    if given.get("cpus", 0) <= 0 or given.get("nodes", 1) < 1:
        raise ValueError(f"{text!r}: needs cpus, and at least one node")
    return ClusterShape(**given)  # type: ignore[arg-type]


_SHAPE_WORDS = {"cpus": float, "gpus": int, "memory_gib": float, "nodes": int, "gpu_gib": float}


def this_machine() -> ClusterShape:
    """What this process may use of this machine: affinity and container limits count, not what is built in."""
    gpus = _count_gpus()
    return ClusterShape(cpus=_count_cpus(), gpus=gpus, memory_gib=_memory_gib())


def _count_cpus() -> float:
    cpus = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else min(cpus, max(1.0, int(quota) / int(period)))


def _memory_gib() -> float:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        limit = "max"
    return min(total, int(limit) if limit != "max" else total) / 2**30


def _count_gpus() -> int:
    """GPUs that CUDA would show, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
