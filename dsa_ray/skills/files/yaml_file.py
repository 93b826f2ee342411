"""The format for people: a YAML list of skills, each with what it needs.

    target: Calculus
    skills:
      - name: Limit
        about: What a value tends to.
        needs: [Function]
      - name: Function
      - name: Calculus
        needs: [Limit]

A skill needs a name only. What is not written down has been written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dsa_ray.records import Edge, Skill, SkillGraph
from dsa_ray.skills.files.bounds import load_yaml
from dsa_ray.skills.graph import GraphError, Make, build
from dsa_ray.skills.names import Names, normalise
from dsa_ray.skills.rows import edge_from_row, session_row, skill_from_row, text

HEADER = """\
# A skill graph. Change it as you like, then see what `dsa graph check` says of it.
#   target    the skill that the whole graph leads to: its name or id
#   skills    each with
#     name      what it is called; the only field that is needed
#     about     one sentence
#     needs     the skills that have to be learned directly before it: names or ids
#     id        only where it is not the name in lower case, joined by '-'
#     sessions  the syllabus of a subject: name, description and key concepts of each class session
#     group     true for a heading, which is never taught itself
# The other fields say where a skill or an edge comes from; leave them out in what you add.
"""
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_HAND = "hand"
_FIELDS = {
    "name", "id", "about", "needs", "source", "found_from", "request", "generator", "proposals", "group", "sessions",
}  # fmt: skip
_EDGE_FIELDS = {"skill", "found_by", "request", "generator", "proposals", "transfer"}


def write(graph: SkillGraph) -> str:
    """The file's text; `read` gives back an equal graph."""
    edges: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        edges.setdefault(edge.skill, []).append(edge)
    data = {
        "target": graph.target,
        "skills": [_row(skill, edges.get(skill.id, ())) for skill in graph.skills],
    }
    body = yaml.dump(data, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    return HEADER + body


def read(content: str, what: str = "graph file", make: Make = build) -> SkillGraph:
    """The graph of a file's text.

    Args:
        content: the text.
        what: names the file in errors.
        make: what to make of skills and edges.

    Raises:
        GraphError: one line that names the place and the fault.
    """
    data = load_yaml(content, what)
    if not isinstance(data, Mapping) or not isinstance(data.get("skills"), list):
        raise GraphError(f"{what}: needs a `target` and a list `skills`")
    rows = [_checked(row, f"{what}: skill {number}") for number, row in enumerate(data["skills"], 1)]
    try:
        skills = [_skill(row) for row in rows]
        names = Names((skill.id, skill.name) for skill in skills)
        edges = [_edge(need, skill, names) for row, skill in zip(rows, skills, strict=True) for need in _needs(row)]
        return make(_found(text(data.get("target")), names), skills, edges)
    except TypeError as error:
        raise GraphError(f"{what}: {error}") from None
    except GraphError as error:
        raise GraphError(f"{what}: {error}") from None


def _row(skill: Skill, edges: Sequence[Edge]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": skill.name}
    fields = {
        "id": (skill.id, normalise(skill.name)),
        "about": (skill.description, ""),
        "group": (skill.group, False),
        "source": (skill.source, _HAND),
        "found_from": (skill.found_from, None),
        **_origin(skill),
    }
    row |= {name: value for name, (value, usual) in fields.items() if value != usual}
    if skill.sessions:
        row["sessions"] = [
            {name: value for name, value in session_row(session).items() if value or name == "name"}
            for session in skill.sessions
        ]
    if edges:
        row["needs"] = [_need(edge) for edge in edges]
    return row


def _need(edge: Edge) -> str | dict[str, Any]:
    fields = {"found_by": (edge.source, _HAND), **_origin(edge), "transfer": (edge.transfer, None)}
    told = {name: value for name, (value, usual) in fields.items() if value != usual}
    return {"skill": edge.prerequisite, **told} if told else edge.prerequisite


def _origin(item: Skill | Edge) -> dict[str, tuple[Any, Any]]:
    return {
        "request": (item.request, None),
        "generator": (item.generator, ""),
        "proposals": (item.proposals, 1),
    }


def _checked(row: Any, where: str) -> Mapping[str, Any]:
    if isinstance(row, str):
        return {"name": row}
    if not isinstance(row, Mapping) or not isinstance(row.get("name"), str):
        raise GraphError(f"{where}: needs a `name`")
    unknown = sorted(str(key) for key in row if key not in _FIELDS)
    if unknown:
        raise GraphError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    return row


def _skill(row: Mapping[str, Any]) -> Skill:
    fields = {name: value for name, value in row.items() if name not in ("about", "needs")}
    id = row.get("id", normalise(row["name"]))
    return skill_from_row({"source": _HAND, **fields, "id": id, "description": row.get("about", "")})


def _needs(row: Mapping[str, Any]) -> list[Any]:
    needs = row.get("needs") or []
    if not isinstance(needs, list):
        raise TypeError(f"{row['name']}: needs {needs!r:.60} should be a list")
    return needs


def _found(name: str, names: Names) -> str:
    """The id; the name itself where there is no such skill, which whoever makes the graph finds out."""
    return names.find(name) or name


def _edge(need: Any, skill: Skill, names: Names) -> Edge:
    row = need if isinstance(need, Mapping) else {"skill": need}
    if "skill" not in row or row.keys() - _EDGE_FIELDS:
        raise TypeError(f"{skill.name}: needs {dict(row)!r:.80} should be a name, or `skill` with its origin")
    before = _found(text(row["skill"]), names)
    return edge_from_row({"found_by": _HAND, **row, "source": before, "target": skill.id})
