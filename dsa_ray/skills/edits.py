"""A change of a graph while it is in use: one more skill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsa_ray.records import Edge, Skill, SkillGraph
from dsa_ray.skills.graph import GraphError, build, names_of
from dsa_ray.skills.names import Names, normalise, tidy
from dsa_ray.skills.rows import text

_MAX_NAMES = 100
_MAX_DESCRIPTION = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A skill to add.

    Example:
        Edit(name="Chain rule", prerequisites=("derivative",), needed_by=())
    """

    name: str
    description: str = ""
    prerequisites: tuple[str, ...] = ()
    """Names or ids of known skills."""
    needed_by: tuple[str, ...] = ()
    """The same; the target if empty."""

    def row(self) -> dict[str, Any]:
        return {
            "skill": self.name,
            "description": self.description,
            "prerequisites": list(self.prerequisites),
            "needed_by": list(self.needed_by),
        }

    @classmethod
    def from_row(cls, row: Any) -> Edit:
        """The inverse of `row`, for data that anybody may have written. Raises `GraphError` in one line."""
        try:
            if not isinstance(row, Mapping):
                raise TypeError("it has no fields")
            return cls(
                name=text(row["skill"]),
                description=text(row.get("description", "")),
                prerequisites=_names(row.get("prerequisites", [])),
                needed_by=_names(row.get("needed_by", [])),
            )
        except (KeyError, TypeError) as error:
            raise GraphError(f"edit: of the wrong shape ({error})") from None


def with_edit(graph: SkillGraph, edit: Edit) -> tuple[SkillGraph, str]:
    """The graph with the new skill, and its id.

    Raises:
        GraphError: it has no name, is there already, names unknown skills, or would close a cycle.
    """
    skill = normalise(edit.name)
    if not skill:
        raise GraphError(f"{edit.name!r:.80}: has neither a letter nor a digit")
    known = names_of(graph, groups=True)
    if known.find(edit.name) is not None:
        raise GraphError(f"{skill}: the graph has this skill already")
    before = [_find(name, known) for name in edit.prerequisites]
    after = [_find(name, known) for name in edit.needed_by] or [graph.target]
    new = Skill(
        id=skill,
        name=tidy(edit.name),
        description=" ".join(edit.description.split())[:_MAX_DESCRIPTION],
        source="hand",
    )
    edges = [Edge(prerequisite=each, skill=skill, source="hand") for each in dict.fromkeys(before)]
    edges += [Edge(prerequisite=skill, skill=each, source="hand") for each in dict.fromkeys(after)]
    return build(graph.target, [*graph.skills, new], [*graph.edges, *edges]), skill


def _find(name: str, known: Names) -> str:
    found = known.all(name)
    if not found:
        raise GraphError(f"{name!r:.80}: the graph has no such skill; see `dsa graph show`")
    if found[1:]:
        raise GraphError(f"{name!r:.80}: is the name of {', '.join(found[:5])}; say which by its id")
    return found[0]


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MAX_NAMES:
        raise TypeError(f"{value!r:.60} should be a list of at most {_MAX_NAMES} names")
    return tuple(text(name) for name in value)
