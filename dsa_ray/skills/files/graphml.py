"""GraphML, by which graph tools exchange graphs. Document types, and with them entities, are refused."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import ParseError
from xml.parsers import expat

import networkx as nx

from dsa_ray.records import SkillGraph
from dsa_ray.skills.files.bounds import MAX_DEPTH
from dsa_ray.skills.graph import GraphError, Make, build
from dsa_ray.skills.rows import edge_from_row, edge_row, skill_from_row, skill_row

_NO_XML = re.compile("[^\t\n\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold, and the carriage return, which it does not keep."""


def write(graph: SkillGraph) -> str:
    """The file's text; `read` gives back an equal graph. Sessions are one attribute, as JSON."""
    network = nx.DiGraph(target=_clean(graph.target))
    for skill in graph.skills:
        row = skill_row(skill)
        if "sessions" in row:
            row["sessions"] = json.dumps(row["sessions"])
        network.add_node(_clean(row.pop("id")), **_attributes(row))
    for edge in graph.edges:
        row = edge_row(edge)
        network.add_edge(_clean(row.pop("source")), _clean(row.pop("target")), **_attributes(row))
    file = io.BytesIO()
    nx.write_graphml_xml(network, file, encoding="utf-8", prettyprint=True)
    return file.getvalue().decode()


def read(content: str, what: str = "graph file", make: Make = build) -> SkillGraph:
    """The graph of a file's text. A file of another tool needs `name` or `label` attributes for its names.

    Where the graph has no attribute `target`, it is the one skill that no other needs.

    Raises:
        GraphError: one line.
    """
    try:
        _look_through(content)
        network = nx.parse_graphml(content)
        nodes = [skill_from_row(_node(str(id), data)) for id, data in network.nodes(data=True)]
        links = [edge_from_row({**data, "source": str(a), "target": str(b)}) for a, b, data in network.edges(data=True)]
        return make(_target(network), nodes, links)
    except (expat.ExpatError, ParseError, nx.NetworkXException) as error:
        raise GraphError(f"{what}: no valid GraphML ({error})") from None
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise GraphError(f"{what}: of the wrong shape ({error})") from None
    except GraphError as error:
        raise GraphError(f"{what}: {error}") from None


def _look_through(content: str) -> None:
    """Refuse document types and what is nested too deep, before anything is built."""
    depth = 0

    def refuse(name: str, *_: Any) -> None:
        raise GraphError(f"a document type ({name}) is not allowed, because it can define entities; remove it")

    def begin(*_: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise GraphError(f"line {parser.CurrentLineNumber}: nested more than {MAX_DEPTH} deep")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.Parse(content, True)


def _attributes(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _clean(value) if isinstance(value, str) else value for name, value in row.items() if value is not None
    }


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _node(id: str, data: Mapping[str, Any]) -> dict[str, Any]:
    row = {"name": data.get("label", id), **data, "id": id}
    if "sessions" in row:
        row["sessions"] = json.loads(row["sessions"])
    return row


def _target(network: nx.DiGraph) -> str:
    if "target" in network.graph:
        return str(network.graph["target"])
    ends = [str(skill) for skill in network if network.out_degree(skill) == 0]
    if len(ends) != 1:
        raise GraphError(f"names no target, and {len(ends)} skills are needed by no other; give the graph one")
    return ends[0]
