"""Reads files that somebody else wrote: bounded in size, YAML without aliases, so that nothing can blow up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dsa_ray import plain_yaml
from dsa_ray.skills.graph import GraphError

MAX_BYTES = 64 * 2**20
"""Longest file."""
MAX_DEPTH = 64
"""Deepest nesting of lists and mappings."""


class _Loader(plain_yaml.NamedFaults, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    pass


def read_text(path: str | Path, most: int = MAX_BYTES) -> str:
    """The text of a file. Raises `GraphError` in one line: missing, unreadable, too long, no UTF-8."""
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise GraphError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > most:
        raise GraphError(f"{path}: longer than {most:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GraphError(f"{path}: is no UTF-8 text (byte {error.start})") from None


def load_yaml(text: str, what: str) -> Any:
    """The plain value of a YAML document: no tags beyond the plain ones, no anchors and aliases, bounded depth.

    Args:
        text: the document.
        what: names it in errors.

    Raises:
        GraphError: in one line, with the line number.
    """
    try:
        _scan(text, what)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise GraphError(f"{what}: no valid YAML ({plain_yaml.fault(error)})") from None
    except (ValueError, RecursionError) as error:
        raise GraphError(f"{what}: no valid YAML ({error})") from None


def _scan(text: str, what: str) -> None:
    """Look at the events alone, which takes no memory, before anything is built."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise GraphError(f"{what}: line {line}: aliases (*{event.anchor}) are not allowed; write it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise GraphError(f"{what}: line {line}: nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
