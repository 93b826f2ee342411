"""Mermaid flow charts, for documents that draw them."""

from __future__ import annotations

from dsa_ray.records import SkillGraph


def write(graph: SkillGraph) -> str:
    """A flow chart from the elementary skills to the target; ids are numbers, names are escaped."""
    numbers = {skill.id: f"n{place}" for place, skill in enumerate(graph.skills)}
    lines = ["flowchart LR"]
    lines += [f'  {numbers[skill.id]}["{_escaped(skill.name or skill.id)}"]' for skill in graph.skills]
    lines += [f"  {numbers[edge.prerequisite]} --> {numbers[edge.skill]}" for edge in graph.edges]
    lines.append(f"  style {numbers[graph.target]} stroke-width:3px")
    return "\n".join(lines) + "\n"


def _escaped(name: str) -> str:
    """On one line, with everything but letters, digits and plain signs as an entity code."""
    plain = " ".join(name.split())
    return "".join(c if c.isalnum() or c in " -.,()'/+" else f"#{ord(c)};" for c in plain)
