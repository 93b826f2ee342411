"""One skill graph as a page of its own: one file, zoomable and searchable, nothing loaded from anywhere.

Everything that a model wrote reaches the page through escaping only: `charts.svg` for the drawing, Jinja's autoescape
for the rest, and JSON without angle brackets for the script, which puts it in as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dsa_ray.records import Edge, Skill, SkillGraph
from dsa_ray.report import words
from dsa_ray.report.charts import svg
from dsa_ray.report.charts.grid import BOX, HEIGHT, MARGIN, Placed, place
from dsa_ray.skills.coverage import Coverage
from dsa_ray.skills.graph import prerequisites

_TEMPLATES = Path(__file__).parent / "templates"
_TONES = 8
"""Colours between the elementary skills and the target."""


def graph_page(
    graph: SkillGraph,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "",
    coverage: Coverage | None = None,
) -> str:
    """The page as text.

    Args:
        graph: any size; thousands of skills stay usable.
        facts: what else is known of a skill, by id, such as `{"limit": {"accuracy": 0.9}}`: shown with its details.
        title: the target's name if not given.
        coverage: exercises written on each session and key concept, shown behind them.
    """
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    placed = place(graph)
    script = (_TEMPLATES / "graph.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    target = next(skill.name for skill in graph.skills if skill.id == graph.target)
    page = environment.get_template("graph.html.j2").render(
        title=title or target,
        counts=_counts(graph),
        levels=1 + max(skill.level for skill in graph.skills),
        tones=_TONES,
        drawing=_drawing(graph, placed),
        hidden_edges=placed.crowded,
        implied=placed.implied,
        data=Markup(_script_json(_data(graph, placed, facts or {}, coverage))),
        style=Markup((_TEMPLATES / "graph.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _counts(graph: SkillGraph) -> str:
    levels = 1 + max(skill.level for skill in graph.skills)
    edges = words.plural(len(graph.edges), "prerequisite")
    kinds = Counter(map(_kind, graph.edges))
    told = (("found in the data alone (solid)", " found"), ("not borne out by it (dotted)", " doubted"))
    measured = "".join(f", {kinds[kind]} {text}" for text, kind in told if kinds[kind])
    return f"{words.plural(len(graph.skills), 'skill')}, {edges}, {words.plural(levels, 'level')}{measured}"


def _drawing(graph: SkillGraph, placed: Placed) -> Markup:
    numbers = {skill.id: number for number, skill in enumerate(graph.skills)}
    top = max(skill.level for skill in graph.skills)
    kinds = {(edge.prerequisite, edge.skill): _kind(edge) for edge in graph.edges}
    edges = [
        svg.element("path", d=path, cls=f"edge{kinds.get((a, b), '')}", id=f"e{numbers[a]}-{numbers[b]}")
        for (a, b), path in placed.paths.items()
    ]
    boxes = [
        _box(skill, placed.corner[skill.id], numbers[skill.id], top, skill.id == graph.target) for skill in graph.skills
    ]
    heads = [svg.text(left, MARGIN - 14, f"level {level}", "level") for level, left in sorted(placed.columns.items())]
    return svg.element(
        "svg",
        svg.group(svg.group(*heads), svg.group(*edges, id="edges"), svg.group(*boxes, id="skills"), id="world"),
        id="picture",
        role="img",
        aria_label=f"Skill graph with {len(graph.skills)} skills",
        data_width=placed.width,
        data_height=placed.height,
    )


def _kind(edge: Edge) -> str:
    """How the data stands to a prerequisite: it alone proposes it, or it does not bear it out."""
    if edge.source == "data":
        return " found"
    return " doubted" if edge.transfer is not None and not edge.transfer > 0 else ""


def _box(skill: Skill, corner: tuple[float, float], number: int, top: int, target: bool) -> Markup:
    left, upper = corner
    rows = svg.wrap(skill.name or skill.id, BOX - 22, 12.5, 2)
    first = upper + HEIGHT / 2 + 4.4 - 7.5 * (len(rows) - 1)
    tone = round((_TONES - 1) * skill.level / top) if top else 0
    cls = f"skill t{tone}" + (" target" if target else "") + (" group" if skill.group else "")
    return svg.group(
        svg.rect(left, upper, BOX, HEIGHT, "box", rx=8),
        svg.rect(left, upper + 8, 4, HEIGHT - 16, "tone", rx=2),
        *(svg.text(left + 13, first + 15 * index, row, "name") for index, row in enumerate(rows)),
        cls=cls,
        id=f"s{number}",
        tabindex=0,
        role="button",
        aria_label=skill.name or skill.id,
    )


def _data(
    graph: SkillGraph, placed: Placed, facts: Mapping[str, Mapping[str, Any]], coverage: Coverage | None
) -> dict[str, Any]:
    numbers = {skill.id: number for number, skill in enumerate(graph.skills)}
    before = prerequisites(graph)
    counts = Counter(edge.prerequisite for edge in graph.edges)
    return {
        "width": placed.width,
        "height": placed.height,
        "crowded": placed.crowded,
        "skills": [
            {
                "name": skill.name or skill.id,
                "about": skill.description,
                "x": placed.corner[skill.id][0] + BOX / 2,
                "y": placed.corner[skill.id][1] + HEIGHT / 2,
                "needs": [numbers[each] for each in before[skill.id]],
                "facts": _facts(skill, counts[skill.id], facts.get(skill.id, {})),
                "sessions": _sessions(skill, coverage),
            }
            for skill in graph.skills
        ],
    }


def _sessions(skill: Skill, coverage: Coverage | None) -> list[list[str]]:
    """(name, key concepts) pairs, with the number of exercises written on each where it is known."""
    if coverage is None:
        return [[session.name, "; ".join(session.concepts)] for session in skill.sessions]
    return [
        [
            f"{session.name} ({coverage.written(skill.id, place)})",
            "; ".join(f"{name} ({coverage.written(skill.id, place, at)})" for at, name in enumerate(session.concepts)),
        ]
        for place, session in enumerate(skill.sessions)
    ]


def _facts(skill: Skill, needed_by: int, extra: Mapping[str, Any]) -> list[list[str]]:
    """(label, value) pairs for the details."""
    pairs = [["id", skill.id], ["level", str(skill.level)], ["needed by", str(needed_by)], ["source", skill.source]]
    if skill.proposals > 1:
        pairs.append(["proposed", f"{skill.proposals} times"])
    if skill.request is not None:
        pairs.append(["request", str(skill.request)])
    if skill.generator:
        pairs.append(["generator", skill.generator])
    pairs += [[str(name), _shown(value)] for name, value in extra.items()]
    return pairs


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)[:200]


def _script_json(data: Any) -> str:
    """JSON that cannot end its script element, whatever the names hold."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
