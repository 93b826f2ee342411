"""Edits that people hand in to a run while it goes on: one small file each, in the run's folder `edits/`.

A file is there whole or not at all, its name is its identity and its place in the order; the run remembers in its
journal which ones it has taken.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Container, Mapping
from typing import Any

from dsa_ray.storage.filesystem import Folder

PLACE = "edits"
MAX_BYTES = 64 * 1024
_NAME = re.compile(r"\d{20}-[0-9a-f]{8}\.json")


def put_edit(run: Folder, row: Mapping[str, Any]) -> str:
    """Hand in an edit; durable when this returns. Returns its name.

    Raises:
        ValueError: longer than `MAX_BYTES`.
    """
    data = json.dumps(dict(row), ensure_ascii=False).encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        raise ValueError(f"edit: {len(data)} bytes, at most {MAX_BYTES}")
    folder = Folder(f"{run.url}/{PLACE}")
    last = max((int(name[:20]) for name in folder.names() if _NAME.fullmatch(name)), default=0)
    # After the one before it, also when the clock was set back, or that one came from a machine whose clock is ahead.
    name = f"{max(time.time_ns(), last + 1):020d}-{secrets.token_hex(4)}.json"
    folder.write(name, data, exclusive=True)
    return name


def new_edits(run: str, known: Container[str]) -> list[tuple[str, Any]]:
    """Edits that are not among the known ones, in the order handed in, as (name, row); None for what is no JSON.

    Args:
        run: path of the run's folder.
        known: names that were taken before.
    """
    folder = Folder(f"{run}/{PLACE}")
    return [(name, _row(folder, name)) for name in folder.names() if _NAME.fullmatch(name) and name not in known]


def _row(folder: Folder, name: str) -> Any:
    data = folder.read(name)
    if len(data) > MAX_BYTES:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
