"""Accuracy against steps of all arms as one self-contained page, beside the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _lego_arms import interval
from _lego_settings import PUBLISHED
from markupsafe import Markup

from dsa_ray.report.charts import svg

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 900.0, 460.0, 56.0, 24.0, 280.0, 44.0
_COLOURS = ("#4c78a8", "#f58518", "#e45756", "#72b7b2", "#54a24b", "#b279a2", "#d62728")
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:24px;color:#222;background:#fff}"
    ".curve{fill:none;stroke-width:2}.band{opacity:.15;stroke:none}.grid{stroke:#ddd}"
    ".published{stroke-width:1.2;stroke-dasharray:4 4;opacity:.7}text{font-size:12px;fill:#444}"
)


def page(runs: Mapping[str, Sequence[Mapping[str, Any]]], title: str, chance: float, published: bool) -> str:
    """The page. Bands are 95 % intervals over seeds; dashed lines are the paper's figures after its last step."""
    last = max(result["steps"][-1] for results in runs.values() for result in results)
    x = svg.Scale(0, last, LEFT, WIDTH - RIGHT)
    y = svg.Scale(0, 100, HEIGHT - BOTTOM, TOP)
    parts: list[Markup] = []
    for value in (0, 25, 50, 75, 100):
        parts += [svg.line(LEFT, y(value), x(last), y(value), "grid"), svg.text(LEFT - 8, y(value) + 4, f"{value} %",
                                                                               anchor="end")]  # fmt: skip
    parts.append(svg.text(x(last) - 4, y(100 * chance) - 4, "chance", anchor="end"))
    parts += [svg.text(x(step), HEIGHT - BOTTOM + 18, f"{step:,.0f}", anchor="middle") for step in x.ticks(5)]
    parts.append(svg.text(x(last / 2), HEIGHT - 6, "optimizer steps", anchor="middle"))
    ends = [100 * float(np.mean([result["accuracy"][-1] for result in results])) for results in runs.values()]
    order = sorted(range(len(ends)), key=lambda arm: -ends[arm])
    heights = dict(zip(order, svg.spread([y(ends[arm]) for arm in order], [17.0] * len(order)), strict=True))
    for place, (arm, results) in enumerate(runs.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        parts += _curve(results, x, y, colour)
        if published and arm in PUBLISHED:
            level = y(PUBLISHED[arm])
            parts.append(svg.element("line", x1=x(0), x2=x(last), y1=level, y2=level, cls="published", stroke=colour))
        told = f"{arm} {ends[place]:.1f} %" + (f" (paper {PUBLISHED[arm]})" if arm in PUBLISHED else "")
        parts.append(svg.element("text", told, x=x(last) + 8, y=heights[place] + 4, style=f"fill:{colour}"))
    drawing = svg.picture(WIDTH, HEIGHT, title, *parts)
    head = svg.element("title", title) + svg.element("style", Markup(_STYLE))
    body = svg.element("h1", title) + drawing
    return f'<!doctype html><html lang="en"><head><meta charset="utf-8">{head}</head><body>{body}</body></html>\n'


def _curve(results: Sequence[Mapping[str, Any]], x: svg.Scale, y: svg.Scale, colour: str) -> list[Markup]:
    steps = results[0]["steps"]
    accuracy = 100 * np.array([result["accuracy"] for result in results]).mean(axis=2)
    found = [interval(accuracy[:, place]) for place in range(len(steps))]
    middle = [(x(step), y(each["mean"])) for step, each in zip(steps, found, strict=True)]
    upper = [(x(step), y.clamp(each["mean"] + (each["half"] or 0))) for step, each in zip(steps, found, strict=True)]
    lower = [(x(step), y.clamp(each["mean"] - (each["half"] or 0))) for step, each in zip(steps, found, strict=True)]
    around = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*upper, *lower[::-1]])
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in middle)
    return [
        svg.element("polygon", points=around, cls="band", fill=colour),
        svg.element("polyline", points=points, cls="curve", stroke=colour),
    ]
