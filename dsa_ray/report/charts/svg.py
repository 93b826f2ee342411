"""The few pieces that every chart of the report is made of. Text is escaped here and nowhere else.

A chart is a string of SVG without scripts or styles: colours and fonts are classes of `templates/report.css`, so that
light and dark mode are the page's matter. `tip` becomes a `data-tip` attribute, which the page shows on hover or tap.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape


def element(tag: str, *children: str, **attributes: str | float | None) -> Markup:
    """One SVG element. `cls` stands for class, `_` in a name for `-`; None leaves the attribute out."""
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is not None:
            key = "class" if name == "cls" else name.replace("_", "-")
            parts.append(f' {key}="{escape(_plain(value))}"')
    inner = "".join(str(child if isinstance(child, Markup) else escape(child)) for child in children)
    return Markup("".join([*parts, f">{inner}</{tag}>"]))


def group(*children: Markup, **attributes: str | float | None) -> Markup:
    return element("g", *children, **attributes)


def text(x: float, y: float, content: str, cls: str = "", anchor: str | None = None) -> Markup:
    return element("text", content, x=x, y=y, cls=cls or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, cls=cls)


def rect(x: float, y: float, width: float, height: float, cls: str, tip: str | None = None, rx: float = 0) -> Markup:
    return element("rect", x=x, y=y, width=max(0.0, width), height=max(0.0, height), cls=cls, rx=rx or None,
                   data_tip=tip)  # fmt: skip


def polyline(points: Iterable[tuple[float, float]], cls: str) -> Markup:
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), cls=cls)


def picture(width: float, height: float, label: str, *children: Markup, cls: str = "chart") -> Markup:
    """The outermost element. It shrinks with the page to seven tenths; `label` is for those who cannot see it."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {_plain(width)} {_plain(height)}",
        width=width,
        height=height,
        style=f"min-width:{0.7 * width:.0f}px",
        role="img",
        aria_label=label,
        cls=cls,
    )


@dataclass(frozen=True)
class Scale:
    """Maps the values `low..high` to the pixels `start..end`; `end` may be less than `start`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def clamp(self, value: float) -> float:
        return self(min(max(value, self.low), self.high))

    def ticks(self, about: int = 5) -> list[float]:
        """Round values (1, 2, 5 times a power of ten) inside the scale."""
        step = _round_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


_LEAST_RANGE = 1e-300
"""Below it a fifth of the range may be no number any more; values so near are shown as one."""


def scale(values: Sequence[float], start: float, end: float, zero: bool = False) -> Scale:
    """A scale around the values with a little air; `zero` makes it begin at 0."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low = 0.0 if zero else low
    if high - low < _LEAST_RANGE:
        low, high = (low, low + 1.0) if zero else (low - 0.5, low + 0.5)
    air = 0.05 * (high - low)
    return Scale(low if zero else low - air, high + air, start, end)


def label(value: float, step: float) -> str:
    """A tick's value, with as many digits as its step needs."""
    if abs(value) < step / 1e6:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:,g} k"
    if 0 < step < 1e-3:
        return f"{value:.2g}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else 0
    return f"{value:,.{digits}f}"


def tick_step(ticks: Sequence[float]) -> float:
    return ticks[1] - ticks[0] if len(ticks) > 1 else 1.0


def text_width(content: str, size: float) -> float:
    """About how wide the page's font sets it, in pixels: enough to know where to break a line."""
    return size * sum(1.0 if unicodedata.east_asian_width(char) in "WF" else 0.58 for char in content)


def spread(places: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Move things that lie in a given order apart, as little as possible (least squares).

    Afterwards the centres of neighbours are at least half of both sizes from each other: an isotonic regression of
    the wished places less the room that must lie before each.
    """
    offsets = [0.0]
    for before, after in pairwise(sizes):
        offsets.append(offsets[-1] + (before + after) / 2)
    pools: list[tuple[float, int]] = []  # (mean, how many)
    for place, offset in zip(places, offsets, strict=False):
        mean, count = place - offset, 1
        while pools and pools[-1][0] > mean:
            other, more = pools.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=False)]


def wrap(content: str, width: float, size: float, lines: int) -> list[str]:
    """Break at spaces into at most `lines` lines of `width` pixels; what does not fit ends in an ellipsis."""
    rows = [""]
    for word in content.split():
        joined = f"{rows[-1]} {word}".strip()
        if rows[-1] and text_width(joined, size) > width:
            rows.append(word)
        else:
            rows[-1] = joined
    if len(rows) > lines:
        rows = [*rows[: lines - 1], " ".join(rows[lines - 1 :])]
    return [_cut(row, width, size) for row in rows]


def curve(points: Sequence[tuple[float, float]]) -> str:
    """A smooth path from left to right through the points, level at each of them."""
    parts = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x1, y1), (x2, y2) in pairwise(points):
        middle = (x1 + x2) / 2
        parts.append(f"C{middle:.1f},{y1:.1f} {middle:.1f},{y2:.1f} {x2:.1f},{y2:.1f}")
    return "".join(parts)


def _cut(content: str, width: float, size: float) -> str:
    if text_width(content, size) <= width:
        return content
    while content and text_width(content + "…", size) > width:
        content = content[:-1]
    return content.rstrip() + "…"


def _round_step(rough: float) -> float:
    """The nearest of 1, 2, 5 and 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next((factor for factor, below in ((1, 1.5), (2, 3.5), (5, 7.5)) if rough / power < below), 10)


def _plain(value: str | float) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
