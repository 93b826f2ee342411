"""The frame of a chart: grid, axes, their labels, legends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from dsa_ray.report.charts import svg


@dataclass(frozen=True)
class Plot:
    """A plotting area: `x` and `y` map values to pixels; `y` runs upwards."""

    x: svg.Scale
    y: svg.Scale

    @property
    def left(self) -> float:
        return self.x.start

    @property
    def right(self) -> float:
        return self.x.end

    @property
    def top(self) -> float:
        return self.y.end

    @property
    def bottom(self) -> float:
        return self.y.start

    def grid(self, y_label: str, about: int = 5, rise: float = 10, whole: bool = False) -> Markup:
        """Horizontal lines with their values on the left; what they mean `rise` pixels above; `whole` as in `base`."""
        ticks = _ticks(self.y, about, whole)
        step = svg.tick_step(ticks)
        parts = [svg.text(self.left, self.top - rise, y_label, "axis-label")]
        for tick in ticks:
            parts.append(svg.line(self.left, self.y(tick), self.right, self.y(tick), "grid"))
            parts.append(svg.text(self.left - 8, self.y(tick) + 3.5, svg.label(tick, step), "tick", "end"))
        return svg.group(*parts)

    def base(self, x_label: str, about: int = 8, whole: bool = False) -> Markup:
        """The axis below, with its ticks; `whole` keeps to whole numbers."""
        ticks = _ticks(self.x, about, whole)
        step = svg.tick_step(ticks)
        parts = [svg.line(self.left, self.bottom, self.right, self.bottom, "axis")]
        for tick in ticks:
            parts.append(svg.line(self.x(tick), self.bottom, self.x(tick), self.bottom + 4, "axis"))
            parts.append(svg.text(self.x(tick), self.bottom + 17, svg.label(tick, step), "tick", "middle"))
        parts.append(svg.text(self.right, self.bottom + 34, x_label, "axis-label", "end"))
        return svg.group(*parts)


def _ticks(scale: svg.Scale, about: int, whole: bool) -> list[float]:
    return [tick for tick in scale.ticks(about) if not whole or abs(tick - round(tick)) < 1e-9]


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """A line of (class, words) pairs above a chart."""
    items = "".join(f'<li><i class="key {escape(cls)}"></i>{escape(words)}</li>' for cls, words in entries)
    return Markup(f'<ul class="legend">{items}</ul>')


def steps_of(rows: Sequence[Mapping[str, object]]) -> tuple[int, int]:
    steps = [int(row["step"]) for row in rows]  # type: ignore[call-overload]
    return min(steps), max(steps)


def bars(rows: Sequence[tuple[str, float, str]], width: float, unit: str) -> Markup:
    """Horizontal bars of (label, value, class), each with its value behind it."""
    left, height = 132.0, 26.0
    most = max((value for _, value, _ in rows), default=0.0) or 1.0
    parts = []
    for index, (name, value, cls) in enumerate(rows):
        middle = 14 + index * height
        length = (width - left - 70) * value / most
        parts.append(svg.text(left - 10, middle + 4, svg.wrap(name, left - 14, 12, 1)[0], "bar-label", "end"))
        parts.append(
            svg.rect(left, middle - 7, max(length, 1.5) if value else 0, 14, cls, f"{name}\n{value:,.0f} {unit}", 2)
        )
        parts.append(svg.text(left + length + 8, middle + 4, f"{value:,.0f}", "bar-value"))
    return svg.picture(width, 28 + height * max(0, len(rows) - 1), f"Bars: {unit}", *parts)
