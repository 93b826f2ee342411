"""Skills and edges as plain rows, the form that graph.json and the other formats have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsa_ray.records import Edge, Session, Skill


def skill_row(skill: Skill) -> dict[str, Any]:
    """A node with level and provenance; `group` and `sessions` only where they say something."""
    row: dict[str, Any] = {
        "id": skill.id,
        "name": skill.name,
        "description": skill.description,
        "level": skill.level,
        "source": skill.source,
        "found_from": skill.found_from,
        "request": skill.request,
        "generator": skill.generator,
        "proposals": skill.proposals,
    }
    if skill.group:
        row["group"] = True
    if skill.sessions:
        row["sessions"] = [session_row(session) for session in skill.sessions]
    return row


def skill_from_row(row: Mapping[str, Any]) -> Skill:
    """The inverse of `skill_row`; only `id` is needed. The level is not read: it follows from the edges.

    Raises:
        KeyError: no id.
        TypeError: a value of another type.
    """
    found_from = row.get("found_from")
    return Skill(
        id=text(row["id"]),
        name=text(row.get("name", row["id"])),
        description=text(row.get("description", "")),
        source=text(row.get("source", "teacher")),
        found_from=None if found_from is None else text(found_from),
        request=_request(row),
        generator=text(row.get("generator", "")),
        proposals=_count(row),
        group=_flag(row.get("group", False)),
        sessions=sessions_from_rows(row.get("sessions", ())),
    )


def session_row(session: Session) -> dict[str, Any]:
    return {"name": session.name, "description": session.description, "concepts": list(session.concepts)}


def sessions_from_rows(rows: Any) -> tuple[Session, ...]:
    """The inverse of `session_row`, for a list; a concept or a session may also be a plain name."""
    if not isinstance(rows, list | tuple):
        raise TypeError(f"sessions {rows!r:.60} should be a list")
    return tuple(_session(row) for row in rows)


def edge_row(edge: Edge) -> dict[str, Any]:
    """A link; `source` and `target` are its ends, as node-link has them, `found_by` is who proposed it.

    `transfer` only where it was measured.
    """
    row = {
        "source": edge.prerequisite,
        "target": edge.skill,
        "found_by": edge.source,
        "request": edge.request,
        "generator": edge.generator,
        "proposals": edge.proposals,
    }
    return row if edge.transfer is None else {**row, "transfer": edge.transfer}


def edge_from_row(row: Mapping[str, Any]) -> Edge:
    """The inverse of `edge_row`; only the ends are needed. Raises `KeyError` and `TypeError` as `skill_from_row`."""
    return Edge(
        prerequisite=text(row["source"]),
        skill=text(row["target"]),
        source=text(row.get("found_by", "teacher")),
        request=_request(row),
        generator=text(row.get("generator", "")),
        proposals=_count(row),
        transfer=_transfer(row),
    )


def text(value: Any) -> str:
    """The value, if it is text; raises `TypeError`."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} should be text")
    return value


def _session(row: Any) -> Session:
    if isinstance(row, str):
        return Session(name=row)
    if not isinstance(row, Mapping):
        raise TypeError(f"session {row!r:.60} should have a name")
    concepts = row.get("concepts", ())
    if not isinstance(concepts, list | tuple):
        raise TypeError(f"concepts {concepts!r:.60} should be a list")
    return Session(
        name=text(row["name"]),
        description=text(row.get("description", "")),
        concepts=tuple(text(concept) for concept in concepts),
    )


def _request(row: Mapping[str, Any]) -> int | None:
    value = row.get("request")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"request {value!r:.60} should be a number")
    return value


def _count(row: Mapping[str, Any]) -> int:
    value = row.get("proposals", 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError(f"proposals {value!r:.60} should be a positive number")
    return value


def _transfer(row: Mapping[str, Any]) -> float | None:
    value = row.get("transfer")
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"transfer {value!r:.60} should be a number")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"group {value!r:.60} should be true or false")
    return value
