"""What was written, what was rejected, and how long a verdict's children took to be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from dsa_ray.report.charts import frame, svg
from dsa_ray.report.summary import CHILD_KINDS, Summary

_WIDTH = 556.0
_REASONS = 12
_BINS = 24


def written(summary: Summary) -> Markup | None:
    """Bars: exercises by how they came about; None when nothing was written."""
    if not summary.exercises.written:
        return None
    children = {kind: getattr(summary.children, kind).written for kind in CHILD_KINDS}
    own = summary.exercises.written - sum(children.values())
    rows = [("from the start", float(own), "k-exercise")]
    rows += [(kind, float(count), f"k-{kind}") for kind, count in children.items()]
    return frame.bars(rows, _WIDTH, "written")


def rejected(summary: Summary) -> Markup | None:
    """Bars: rejections by reason, the most frequent first; None when nothing was rejected."""
    ranked = sorted(summary.exercises.rejected.items(), key=lambda pair: (-pair[1], pair[0]))
    if not ranked:
        return None
    rows = [(reason.replace("_", " "), float(count), "k-rejected") for reason, count in ranked[:_REASONS]]
    rest = sum(count for _, count in ranked[_REASONS:])
    return frame.bars(rows + ([("other reasons", float(rest), "k-rejected")] if rest else []), _WIDTH, "rejected")


def lag(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Histogram of the steps from verdict to first training on a child, by kind; None without a trained child."""
    if not rows:
        return None
    steps = [row["lag_steps"] for row in rows]
    width = max(1, int(np.ceil((max(steps) - min(steps) + 1) / _BINS)))
    first = min(steps) // width * width
    bins: dict[int, Counter[str]] = {}
    for row in rows:
        bins.setdefault((row["lag_steps"] - first) // width, Counter())[row["kind"]] += 1
    x = svg.Scale(first, first + width * (max(bins) + 1), 48, _WIDTH - 8)
    most = max(content.total() for content in bins.values())
    plot = frame.Plot(x, svg.scale([0, most], 286, 30, zero=True))
    parts = [plot.grid("children", whole=True), plot.base("steps from verdict to first training", 6, whole=True)]
    for index, content in sorted(bins.items()):
        begin = first + index * width
        parts.append(_column(plot, begin, begin + width, content))
    parts.extend(_median(plot, float(np.median(steps))))
    key = frame.legend((f"k-{kind}", kind) for kind in CHILD_KINDS)
    return key + svg.picture(_WIDTH, 326, "Feedback lag of the children, in steps", *parts)


def _column(plot: frame.Plot, begin: float, end: float, content: Counter[str]) -> Markup:
    span = f"{begin:,} steps" if end - begin == 1 else f"{begin:,} to {end - 1:,} steps"
    tip = "\n".join([span, *(f"{kind} {content[kind]:,}" for kind in CHILD_KINDS)])
    left, width = plot.x(begin), plot.x(end) - plot.x(begin)
    parts, below = [], 0
    for kind in CHILD_KINDS:
        top = plot.y(below + content[kind])
        parts.append(svg.rect(left + 1, top, min(width - 2, 40), plot.y(below) - top, f"k-{kind}"))
        below += content[kind]
    return svg.group(*parts, data_tip=tip)


def _median(plot: frame.Plot, value: float) -> list[Markup]:
    place = plot.x(value)
    left = place > (plot.left + plot.right) / 2
    return [
        svg.line(place, plot.top - 6, place, plot.bottom, "baseline"),
        svg.text(
            place + (-6 if left else 6), plot.top, f"median {value:,.0f}", "baseline-label", "end" if left else None
        ),
    ]
