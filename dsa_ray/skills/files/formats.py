"""The formats by name, and reading and writing files with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from dsa_ray.records import SkillGraph
from dsa_ray.skills.files import graphml, mermaid, yaml_file
from dsa_ray.skills.files.bounds import read_text
from dsa_ray.skills.graph import GraphError, Make, build, from_node_link, to_node_link

READ_FORMATS = ("yaml", "nodelink", "graphml")
WRITE_FORMATS = (*READ_FORMATS, "mermaid")
_BY_SUFFIX = {
    ".yaml": "yaml", ".yml": "yaml", ".json": "nodelink", ".graphml": "graphml", ".xml": "graphml", ".mmd": "mermaid",
}  # fmt: skip


def read_graph(path: str | Path, format: str | None = None, make: Make = build) -> SkillGraph:
    """The skill graph in a file.

    Args:
        path: of the file.
        format: one of `READ_FORMATS`; by its suffix if not given.
        make: what to make of skills and edges; `unchecked` to look for all faults.

    Raises:
        GraphError: one line.
    """
    readers: dict[str, Callable[[str, str, Make], SkillGraph]] = {
        "yaml": yaml_file.read,
        "nodelink": _read_node_link,
        "graphml": graphml.read,
    }
    name = format or format_of(path)
    if name not in readers:
        raise GraphError(f"{path}: cannot be read as {name}; known are {', '.join(readers)}")
    return readers[name](read_text(path), str(path), make)


def graph_text(graph: SkillGraph, format: str) -> str:
    """The text of a graph in one of `WRITE_FORMATS`. Raises `GraphError` for another one."""
    writers: dict[str, Callable[[SkillGraph], str]] = {
        "yaml": yaml_file.write,
        "nodelink": lambda graph: json.dumps(to_node_link(graph), indent=1, ensure_ascii=False),
        "graphml": graphml.write,
        "mermaid": mermaid.write,
    }
    if format not in writers:
        raise GraphError(f"format {format!r}: known are {', '.join(writers)}")
    return writers[format](graph)


def format_of(path: str | Path) -> str:
    """The format that a file's suffix stands for. Raises `GraphError`."""
    suffix = Path(path).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise GraphError(f"{path}: its suffix tells no format; name one of {', '.join(WRITE_FORMATS)}")
    return _BY_SUFFIX[suffix]


def _read_node_link(content: str, what: str, make: Make) -> SkillGraph:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"{what}: no valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise GraphError(f"{what}: holds no node-link object")
    try:
        return from_node_link(data, make)
    except GraphError as error:
        raise GraphError(f"{what}: {error}") from None
