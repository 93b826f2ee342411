"""A taxonomy as a tree, as people see and mark it: fields, sub-fields, disciplines, subjects, with their syllabus.

    name: Mathematics
    below:
      - name: Pure mathematics          # asked about, because nothing is listed below it
      - name: Astrology
        keep: false                     # left out with all that is below it, whoever proposes it
      - name: Applied mathematics
        keep: [true, true, false]       # a vote: the majority counts
        below: [...]                    # taken as it stands

A subject may list its `sessions`, each with `name`, `description` and `concepts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from dsa_ray.records import Session, SkillGraph
from dsa_ray.skills.files.bounds import load_yaml
from dsa_ray.skills.graph import GraphError
from dsa_ray.skills.names import normalise
from dsa_ray.skills.rows import session_row, sessions_from_rows, text

TIERS = ("target", "field", "subfield", "discipline", "subject")
"""What the levels of the tree are called, from its root."""
_FIELDS = {"name", "about", "keep", "below", "sessions"}
HEADER = """\
# A taxonomy: fields, their sub-fields, their disciplines, their subjects, and the class sessions of each subject.
#   keep: false   leaves an entry out, with all below it; a list of true and false is a vote
#   below         an entry without it is one that the teacher is asked about; [] asks nothing
# Add an entry by its name, then give this file to `graph.taxonomy`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the tree."""

    name: str
    about: str = ""
    keep: bool = True
    below: tuple[Entry, ...] | None = None
    """None: the teacher is asked."""
    sessions: tuple[Session, ...] | None = None
    """Of a subject; None: the teacher is asked."""


def read(content: str, what: str = "taxonomy") -> Entry:
    """The tree of a YAML text. Raises `GraphError` in one line."""
    data = load_yaml(content, what)
    try:
        return _entry(data, 0)
    except (TypeError, KeyError) as error:
        raise GraphError(f"{what}: {error}") from None


def write(graph: SkillGraph) -> str:
    """The taxonomy of a graph that was built from one, for people to mark."""
    skills = {skill.id: skill for skill in graph.skills}
    below: dict[str, list[str]] = {}
    for edge in graph.edges:
        below.setdefault(edge.skill, []).append(edge.prerequisite)

    def row(id: str, tier: int) -> dict[str, Any]:
        skill = skills[id]
        fields: dict[str, Any] = {"name": skill.name}
        if skill.description:
            fields["about"] = skill.description
        if skill.sessions:
            fields["sessions"] = [session_row(session) for session in skill.sessions]
        if id in below and tier + 1 < len(TIERS):
            fields["below"] = [row(other, tier + 1) for other in below[id]]
        return fields

    body = yaml.safe_dump(row(graph.target, 0), sort_keys=False, allow_unicode=True, width=120)
    return HEADER + body


def _entry(row: Any, tier: int) -> Entry:
    if isinstance(row, str):
        row = {"name": row}
    if not isinstance(row, Mapping) or "name" not in row:
        raise TypeError(f"an entry {row!r:.60} has no `name`")
    name = text(row["name"])
    unknown = sorted(str(key) for key in row if key not in _FIELDS)
    if unknown:
        raise TypeError(f"{name!r:.60}: unknown field {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    if not normalise(name):
        raise TypeError(f"{name!r:.60} has neither a letter nor a digit")
    if tier >= len(TIERS):
        raise TypeError(f"{name!r:.60} lies below a subject; list it under its `sessions`")
    if "sessions" in row and tier != len(TIERS) - 1:
        raise TypeError(f"{name!r:.60} is a {TIERS[tier]}; only subjects have sessions")
    below = row.get("below")
    if below is not None and not isinstance(below, list):
        raise TypeError(f"{name!r:.60}: `below` should be a list")
    return Entry(
        name=name,
        about=text(row.get("about", "")),
        keep=_kept(row.get("keep", True), name),
        below=None if below is None else tuple(_entry(each, tier + 1) for each in below),
        sessions=sessions_from_rows(row["sessions"]) if "sessions" in row else None,
    )


def _kept(mark: Any, name: str) -> bool:
    votes = mark if isinstance(mark, list) and mark else [mark]
    if not all(isinstance(vote, bool) for vote in votes):
        raise TypeError(f"{name!r:.60}: `keep` should be true, false or a list of these")
    return 2 * sum(votes) > len(votes)
