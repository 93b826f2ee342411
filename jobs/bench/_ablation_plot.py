"""Accuracy of all arms as one self-contained page: a row each, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from dsa_ray.report.charts import svg

WIDTH, LEFT, RIGHT, ROW, TOP, BOTTOM = 860.0, 180.0, 40.0, 40.0, 48.0, 44.0
_MARKS = {
    "taught": ("#e45756", "taught, difficulties 1 and 2"),
    "hard": ("#4c78a8", "taught, difficulty 3"),
    "elementary": ("#72b7b2", "elementary"),
}
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:24px;color:#222;background:#fff}"
    ".grid{stroke:#ddd}.interval{stroke-width:2}text{font-size:12px;fill:#444}"
)


def page(arms: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """The page; a point is a mean over seeds, its line the 95 % interval."""
    height = TOP + ROW * len(arms) + BOTTOM
    x = svg.Scale(0, 100, LEFT, WIDTH - RIGHT)
    parts: list[Markup] = []
    for value in (0, 25, 50, 75, 100):
        parts += [svg.line(x(value), TOP, x(value), height - BOTTOM, "grid"),
                  svg.text(x(value), height - BOTTOM + 18, f"{value} %", anchor="middle")]  # fmt: skip
    parts.append(svg.text(x(50), height - 6, "accuracy in the exam", anchor="middle"))
    for place, (colour, told) in enumerate(_MARKS.values()):
        parts.append(svg.element("text", told, x=LEFT + 220 * place, y=24, style=f"fill:{colour}"))
    for row, (arm, each) in enumerate(arms.items()):
        middle = TOP + ROW * (row + 0.5)
        parts.append(svg.text(LEFT - 10, middle + 4, arm, anchor="end"))
        for place, (mark, (colour, _)) in enumerate(_MARKS.items()):
            parts += _point(x, middle + 9 * (place - 1), each[mark], colour)
    head = svg.element("title", title) + svg.element("style", Markup(_STYLE))
    body = svg.element("h1", title) + svg.picture(WIDTH, height, title, *parts)
    return f'<!doctype html><html lang="en"><head><meta charset="utf-8">{head}</head><body>{body}</body></html>\n'


def _point(x: svg.Scale, y: float, mark: Mapping[str, Any], colour: str) -> list[Markup]:
    mean, half = 100 * mark["mean"], 100 * (mark["half"] or 0.0)
    told = svg.element("title", f"{mean:.1f} % ±{half:.1f}")
    return [
        svg.element(
            "line", x1=x.clamp(mean - half), x2=x.clamp(mean + half), y1=y, y2=y, cls="interval", stroke=colour
        ),
        svg.element("circle", told, cx=x.clamp(mean), cy=y, r=3.5, fill=colour),
    ]
