"""Accuracy before and after, with its 95 % intervals."""

from __future__ import annotations

from markupsafe import Markup

from dsa_ray.report import words
from dsa_ray.report.charts import svg
from dsa_ray.report.summary import Accuracy, Interval

_WIDTH = 720.0
_LEFT = 92.0
_ROW = 26.0


def intervals(accuracy: Accuracy) -> Markup | None:
    """A dot and its interval for each group and exam; None when nothing was measured."""
    groups = (("taught", accuracy), ("elementary", accuracy.elementary))
    shown = [(name, group) for name, group in groups if group.before or group.after]
    if not shown:
        return None
    x = svg.Scale(0, 100, _LEFT, _WIDTH - 64)
    bottom = 10 + len(shown) * (2 * _ROW + 10)
    parts = [_grid(x, bottom)]
    for index, (name, group) in enumerate(shown):
        top = 22 + index * (2 * _ROW + 10)
        parts.append(svg.text(0, top + 4, name, "bar-label"))
        parts.append(_dumbbell(x, top, f"{name}, before", group.before, "before"))
        parts.append(_dumbbell(x, top + _ROW, f"{name}, after", group.after, "after"))
    return svg.picture(_WIDTH, bottom + 24, "Accuracy before and after with 95 % intervals", *parts)


def _grid(x: svg.Scale, bottom: float) -> Markup:
    parts = []
    for tick in range(0, 101, 20):
        parts.append(svg.line(x(tick), 6, x(tick), bottom, "grid"))
        parts.append(svg.text(x(tick), bottom + 16, f"{tick} %", "tick", "middle"))
    return svg.group(*parts)


def _dumbbell(x: svg.Scale, y: float, name: str, measured: Interval | None, cls: str) -> Markup:
    if measured is None:
        return svg.text(x(0) + 8, y + 4, "not measured", "tick")
    low, high, place = (x(100 * value) for value in (measured.low, measured.high, measured.value))
    tip = f"{name}\n{words.interval(measured)}\n{words.plural(measured.n, 'question')}"
    return svg.group(
        svg.rect(low, y - 5, max(high - low, 2), 10, f"whisker {cls}", rx=5),
        svg.element("circle", cx=place, cy=y, r=6, cls=f"point {cls}"),
        svg.text(max(high, place + 6) + 8, y + 4, words.percent(measured.value, 0), "bar-value"),
        data_tip=tip,
    )
