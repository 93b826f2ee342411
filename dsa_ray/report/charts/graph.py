"""The skill graph: elementary skills on the left, the target on the right, each with its accuracy before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from dsa_ray.report import words
from dsa_ray.report.charts import svg
from dsa_ray.report.charts.layout import layered
from dsa_ray.report.summary import SkillAccuracy

_BOX = 144.0
_HEIGHT = 50.0
_GAP = 38.0
_TOP = 34.0
_FONT = 12.0


def skill_graph(graph: Mapping[str, Any], accuracy: Mapping[str, SkillAccuracy]) -> tuple[Markup | None, int]:
    """Draw a node-link graph level by level; also how many edges are left out because others imply them.

    There is nothing to draw while there is no graph (None). A skill that was examined carries two bars, accuracy
    before and after. Its details are in `data-tip`, its direct prerequisites in `data-needs`, by which the page
    lights up the paths that lead to and from it.
    """
    nodes = {node["id"]: node for node in graph.get("nodes", ())}
    if not nodes:
        return None, 0
    needs = prerequisites(graph)
    edges = [(prerequisite, skill) for skill, before in needs.items() for prerequisite in before]
    layout = layered({key: node["level"] for key, node in nodes.items()}, edges, _HEIGHT + 12, 14)
    numbers = {key: index for index, key in enumerate(nodes)}
    width = layout.columns * (_BOX + _GAP) - _GAP + 4
    parts = _headings(sorted({node["level"] for node in nodes.values()}))
    parts += [_edge(route, numbers[a], numbers[b]) for (a, b), route in layout.routes.items()]
    target = graph.get("graph", {}).get("target")
    for key, node in nodes.items():
        facts = _details(node, accuracy.get(key), [nodes[before]["name"] for before in needs.get(key, ())])
        box = _skill(node["name"], layout.place[key], accuracy.get(key), key == target)
        near = " ".join(str(numbers[before]) for before in needs.get(key, ()))
        parts.append(svg.group(box, tabindex=0, data_tip=facts, data_skill=numbers[key], data_needs=near))
    title = f"Skill graph with {len(nodes)} skills"
    return svg.picture(width, layout.height + _TOP, title, *parts, cls="graph"), layout.implied


def prerequisites(graph: Mapping[str, Any]) -> dict[str, list[str]]:
    """Skill id -> ids of its direct prerequisites."""
    needs: dict[str, list[str]] = {}
    for edge in graph.get("edges", graph.get("links", ())):
        needs.setdefault(edge["target"], []).append(edge["source"])
    return needs


def _headings(levels: list[int]) -> list[Markup]:
    return [
        svg.text(2 + index * (_BOX + _GAP), 14, f"level {level}", "axis-label") for index, level in enumerate(levels)
    ]


def _edge(route: list[tuple[int, float]], start: int, end: int) -> Markup:
    """From the right side of one box to the left side of the other, straight through where boxes stand beside it."""
    points = []
    for index, (column, height) in enumerate(route):
        left, y = 2 + column * (_BOX + _GAP), height + _TOP
        if index > 0:
            points.append((left, y))
        if index < len(route) - 1:
            points.append((left + _BOX, y))
    return svg.element("path", d=svg.curve(points), cls="edge", data_from=start, data_to=end)


def _skill(name: str, place: tuple[int, float], marks: SkillAccuracy | None, target: bool) -> Markup:
    left, top = 2 + place[0] * (_BOX + _GAP), place[1] + _TOP - _HEIGHT / 2
    inner = _BOX - 20
    rows = svg.wrap(name, inner, _FONT * (1.1 if target else 1), 2)
    bars = _bars(left + 10, top + _HEIGHT - 13, inner, marks) if marks else []
    middle = top + (_HEIGHT - 14 if bars else _HEIGHT) / 2
    first = middle + 4.5 - 7 * (len(rows) - 1)
    return svg.group(
        svg.rect(left, top, _BOX, _HEIGHT, "box", rx=7),
        *(svg.text(left + 10, first + 14 * index, row, "name") for index, row in enumerate(rows)),
        *bars,
        cls="skill target" if target else "skill",
    )


def _bars(left: float, top: float, width: float, marks: SkillAccuracy) -> list[Markup]:
    parts = []
    for index, (share, cls) in enumerate(((marks.before, "before"), (marks.after, "after"))):
        y = top + index * 5
        parts.append(svg.rect(left, y, width, 3.5, "track", rx=1.75))
        if share is not None:
            parts.append(svg.rect(left, y, max(2.0, width * share), 3.5, f"bar {cls}", rx=1.75))
    return parts


def _details(node: Mapping[str, Any], marks: SkillAccuracy | None, needs: list[str]) -> str:
    lines = [node["name"], f"level {node['level']}"]
    if marks:
        before, after = words.percent(marks.before, 0), words.percent(marks.after, 0)
        lines.append(f"accuracy {before} → {after}, {words.plural(marks.n, 'question')}")
    else:
        lines.append("not examined")
    if node.get("description"):
        lines.append(node["description"])
    if needs:
        lines.append(f"needs: {', '.join(needs)}")
    return "\n".join(lines)
