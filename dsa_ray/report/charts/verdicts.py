"""What the training dynamics said: verdicts over time, and the map of mean loss and spread."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from dsa_ray.report.charts import frame, svg
from dsa_ray.report.words import VERDICT_WORDS

_WIDTH = 556.0
_BUCKETS = 32
_DOTS = 2500

BASELINES = {
    "L_average": "L average",
    "L_b": "L b (planted errors)",
    "sigma_average": "σ average",
    "sigma_b": "σ b",
}


def over_time(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Stacked bars: how many verdicts of each class fell in each stretch of steps; None without a verdict."""
    if not rows:
        return None
    first, last = frame.steps_of(rows)
    stretch = max(1, math.ceil((last - first + 1) / _BUCKETS))
    buckets: dict[int, Counter[str]] = {}
    for row in rows:
        buckets.setdefault((row["step"] - first) // stretch, Counter())[row["verdict"]] += 1
    x = svg.Scale(first, first + stretch * (max(buckets) + 1), 48, _WIDTH - 8)
    most = max(bucket.total() for bucket in buckets.values())
    plot = frame.Plot(x, svg.scale([0, most], 306, 50, zero=True))
    parts = [plot.grid("verdicts", whole=True), plot.base("step", 6, whole=True)]
    for index, bucket in sorted(buckets.items()):
        begin = first + index * stretch
        parts.append(_stack(plot, begin, begin + stretch, bucket))
    return _legend(rows) + svg.picture(_WIDTH, 346, "Verdicts by class over the steps", *parts)


def dynamics_map(rows: Sequence[Mapping[str, Any]], baselines: Mapping[str, float | None]) -> Markup | None:
    """Each exercise at its last verdict: spread to the right, mean loss upwards; None without a verdict."""
    latest = list({row["exercise"]: row for row in rows}.values())
    if not latest:
        return None
    lines = {name: value for name in BASELINES if (value := baselines.get(name)) is not None}
    means = [row["mean_loss"] for row in latest] + [lines[name] for name in ("L_average", "L_b") if name in lines]
    spreads = [row["loss_spread"] for row in latest]
    spreads += [lines[name] for name in ("sigma_average", "sigma_b") if name in lines]
    plot = frame.Plot(
        svg.scale([0.0, *_within(spreads)], 48, _WIDTH - 8, zero=True), svg.scale(_within(means), 306, 50)
    )
    parts = [plot.grid("mean loss against its cohort", rise=30), plot.base("spread of the loss", 6)]
    parts.extend(_dot(plot, row) for row in _drawn(latest))
    parts.extend(_baseline_lines(plot, lines))
    return _legend(latest) + svg.picture(_WIDTH, 346, "Map of the exercises by mean loss and spread", *parts)


def map_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """What a reader must know of the dots that are not drawn; empty when all are."""
    count = len({row["exercise"] for row in rows})
    return f"{_DOTS:,} of {count:,} exercises are drawn, evenly chosen. " if count > _DOTS else ""


def _stack(plot: frame.Plot, begin: float, end: float, bucket: Counter[str]) -> Markup:
    tip = "\n".join(
        [f"steps {begin:,} to {end - 1:,}", *(f"{word} {bucket[name]:,}" for name, word in VERDICT_WORDS.items())]
    )
    left, width = plot.x(begin), plot.x(end) - plot.x(begin)
    parts, below = [], 0
    for name in VERDICT_WORDS:
        if bucket[name]:
            top = plot.y(below + bucket[name])
            parts.append(svg.rect(left + 1, top, min(width - 2, 40), plot.y(below) - top, f"v-{name}"))
            below += bucket[name]
    return svg.group(*parts, data_tip=tip)


def _within(values: Sequence[float]) -> list[float]:
    """The bounds that hold all but the outermost hundredth on both sides."""
    low, high = np.percentile(values, [1, 99])
    return [float(low), float(high)]


def _drawn(rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """An even choice of at most `_DOTS`; the rare classes are drawn last, on top."""
    chosen = rows if len(rows) <= _DOTS else [rows[at] for at in np.linspace(0, len(rows) - 1, _DOTS).astype(int)]
    frequency = Counter(row["verdict"] for row in chosen)
    return sorted(chosen, key=lambda row: -frequency[row["verdict"]])


def _dot(plot: frame.Plot, row: Mapping[str, Any]) -> Markup:
    word = VERDICT_WORDS.get(row["verdict"], row["verdict"])
    tip = f"exercise {row['exercise']}: {word}\nmean loss {row['mean_loss']:.3f}\nspread {row['loss_spread']:.3f}"
    return svg.element(
        "circle",
        cx=plot.x.clamp(row["loss_spread"]),
        cy=plot.y.clamp(row["mean_loss"]),
        r=3,
        cls=f"dot v-{row['verdict']}",
        data_tip=tip,
    )


def _baseline_lines(plot: frame.Plot, lines: Mapping[str, float]) -> list[Markup]:
    """Level lines for the losses, labelled on the right; upright ones for the spreads, labelled at the top."""
    parts = []
    level = sorted((plot.y.clamp(lines[name]), name) for name in ("L_average", "L_b") if name in lines)
    labels = svg.spread([place - 5 for place, _ in level], [13.0] * len(level))
    for (place, name), label in zip(level, labels, strict=True):
        parts.append(svg.line(plot.left, place, plot.right, place, f"baseline {name}"))
        parts.append(svg.text(plot.right, label, BASELINES[name], "baseline-label", "end"))
    upright = sorted((plot.x.clamp(lines[name]), name) for name in ("sigma_average", "sigma_b") if name in lines)
    widths = [svg.text_width(BASELINES[name], 11) + 10 for _, name in upright]
    for (place, name), label in zip(upright, svg.spread([place for place, _ in upright], widths), strict=True):
        parts.append(svg.line(place, plot.top, place, plot.bottom, f"baseline {name}"))
        parts.append(svg.text(label, plot.top - 4, BASELINES[name], "baseline-label", "middle"))
    return parts


def _legend(rows: Sequence[Mapping[str, Any]]) -> Markup:
    counted = Counter(row["verdict"] for row in rows)
    return frame.legend((f"v-{name}", f"{word} {counted[name]:,}") for name, word in VERDICT_WORDS.items())
