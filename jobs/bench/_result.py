"""The last line of a benchmark: one JSON object, and the table of bars above it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dsa_ray.machine import this_machine


def at_least(figure: float, bar: float) -> dict[str, Any]:
    figure = round(figure, 4)
    return {"figure": figure, "bar": bar, "ok": bool(figure >= bar)}


def at_most(figure: float, bar: float) -> dict[str, Any]:
    figure = round(figure, 4)
    return {"figure": figure, "bar": bar, "ok": bool(figure <= bar)}


def finish(
    bench: str,
    figures: Mapping[str, Any],
    bars: Mapping[str, Mapping[str, Any]],
    skipped: Sequence[str] = (),
    packages: Sequence[str] = (),
) -> int:
    """Print bars and the JSON line; returns 0: whether a bar was met is data."""
    print("\nbars")
    for name, bar in bars.items():
        print(f"  {name:<34} {bar['figure']:>12}   bar {bar['bar']:>8}   {'ok' if bar['ok'] else 'MISSED'}")
    machine = this_machine()
    result = {
        "bench": bench,
        "figures": figures,
        "bars": bars,
        "machine": {"cpus": machine.cpus, "gpus": machine.gpus, "memory_gib": round(machine.memory_gib, 1)},
        "versions": _versions(("dsa-ray", *packages)),
    }
    print(json.dumps(result | ({"skipped": list(skipped)} if skipped else {})))
    return 0


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
