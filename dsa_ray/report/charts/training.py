"""How training went: loss with the learning rate below it, and the pace."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup

from dsa_ray.report import words
from dsa_ray.report.charts import frame, svg

_WIDTH = 1120.0
_LETTER = 7
"""Width of a letter of a label, pixels: a phase too short for its name goes without."""
_POINTS = 240


def loss_curve(metrics: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Loss per step, with a running mean; the learning rate in a strip below; None without any loss."""
    rows = [row for row in metrics if _finite(row.get("loss"))]
    if not rows:
        return None
    runs = [(phase, _thin(list(group))) for phase, group in groupby(rows, key=lambda row: row.get("phase", ""))]
    thinned = [row for _, run in runs for row in run]
    first, last = frame.steps_of(rows)
    x = svg.Scale(first, max(last, first + 1), 52, _WIDTH - 12)
    plot = frame.Plot(x, svg.scale([row["loss"] for row in thinned], 262, 48))
    strip = frame.Plot(x, svg.scale([row.get("lr") or 0.0 for row in thinned], 338, 296, zero=True))
    parts = [plot.grid("loss, nats per token", rise=22), strip.grid("learning rate", 1), strip.base("step", whole=True)]
    for phase, run in runs:
        parts.append(_phase(plot, strip, phase, run))
    parts.extend(_hits(plot, strip, thinned))
    key = frame.legend([("loss-raw", "loss of a step"), ("loss", "running mean"), ("lr", "learning rate")])
    return key + svg.picture(_WIDTH, 376, "Loss and learning rate over the steps", *parts)


def pace(metrics: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Training tokens per second with the idle share below; None without figures."""
    rows = _thin([row for row in metrics if _finite(row.get("tokens_per_s"))])
    if not rows:
        return None
    first, last = frame.steps_of(rows)
    x = svg.Scale(first, max(last, first + 1), 52, 544)
    plot = frame.Plot(x, svg.scale([row["tokens_per_s"] for row in rows], 150, 28, zero=True))
    shares = [(row["step"], 100 * row["idle_ratio"]) for row in rows if _finite(row.get("idle_ratio"))]
    strip = frame.Plot(x, svg.scale([10.0, *(share for _, share in shares)], 244, 190, zero=True))
    parts = [
        plot.grid("training, tokens/s", 4),
        svg.polyline([(x(row["step"]), plot.y(row["tokens_per_s"])) for row in rows], "loss"),
        strip.grid("idle: waiting for data, %", 2),
        strip.base("step", 6, whole=True),
        svg.polyline([(x(step), strip.y(share)) for step, share in shares], "idle"),
        *_hits(plot, strip, rows),
    ]
    return svg.picture(556, 284, "Training tokens per second and idle share over the steps", *parts)


def _phase(plot: frame.Plot, strip: frame.Plot, phase: str, run: Sequence[Mapping[str, Any]]) -> Markup:
    start, x = plot.x(run[0]["step"]), plot.x
    room = x(run[-1]["step"]) - start
    losses = [row["loss"] for row in run]
    rates = [(x(row["step"]), strip.y(row["lr"])) for row in run if _finite(row.get("lr"))]
    points = [(x(row["step"]), plot.y(loss)) for row, loss in zip(run, losses, strict=True)]
    mean = [(place, plot.y(loss)) for (place, _), loss in zip(points, _running_mean(losses), strict=True)]
    return svg.group(
        svg.line(start, plot.top - 4, start, strip.bottom, "phase-line"),
        *([svg.text(start + 6, plot.top + 4, phase, "phase-label")] if room > _LETTER * len(phase) else []),
        svg.polyline(points, "loss-raw"),
        svg.polyline(mean, "loss"),
        svg.polyline(rates, "lr"),
    )


def _hits(plot: frame.Plot, strip: frame.Plot, rows: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Invisible columns, one per point, that tell its figures."""
    width = (plot.right - plot.left) / len(rows)
    return [
        svg.rect(plot.x(row["step"]) - width / 2, plot.top, width, strip.bottom - plot.top, "hit", _tip(row))
        for row in rows
    ]


def _tip(row: Mapping[str, Any]) -> str:
    lines = [f"step {row['step']:,}"]
    if _finite(row.get("loss")):
        lines.append(f"loss {row['loss']:.3f}")
    if _finite(row.get("lr")):
        lines.append(f"learning rate {row['lr']:.2g}")
    if _finite(row.get("grad_norm")):
        lines.append(f"gradient norm {row['grad_norm']:.2g}")
    if _finite(row.get("tokens_per_s")):
        lines.append(f"{row['tokens_per_s']:,.0f} tokens/s, idle {words.percent(row.get('idle_ratio'))}")
    return "\n".join(lines)


def _thin(rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most `_POINTS` rows: neighbours become one row of their means."""
    if len(rows) <= _POINTS:
        return rows
    return [_mean_row(rows[part[0] : part[-1] + 1]) for part in np.array_split(np.arange(len(rows)), _POINTS)]


def _mean_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {"step": rows[len(rows) // 2]["step"], "phase": rows[0].get("phase", "")}
    for key in ("loss", "lr", "grad_norm", "tokens_per_s", "idle_ratio"):
        values = [row[key] for row in rows if _finite(row.get(key))]
        if values:
            merged[key] = float(np.mean(values))
    return merged


def _running_mean(values: Sequence[float]) -> list[float]:
    """Centred, over about a twentieth of the run."""
    half = len(values) // 40
    return [float(np.mean(values[max(0, at - half) : at + half + 1])) for at in range(len(values))]


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
