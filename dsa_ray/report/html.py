"""report.html: what happened in a run, for people. One file, nothing loaded from anywhere, works from file://.

Everything that a model wrote (skill names, descriptions) reaches the page through escaping only: `charts.svg` for
drawings, Jinja's autoescape for the rest. The page's policy allows no request and no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dsa_ray.report import facts, words
from dsa_ray.report.charts import accuracy, generation, graph, training, verdicts
from dsa_ray.report.summary import RunFiles, Summary

FILE = "report.html"
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """What the page shows. Only the summary is needed; what is missing is told to be missing."""

    summary: Summary
    graph: Mapping[str, Any] = field(default_factory=dict)
    """Node-link: `graph.target`, `nodes` of {id, name, level, description?}, `edges` of {source: prerequisite,
    target: skill} (or `links`)."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The resolved configuration (config.json)."""
    metrics: Sequence[Mapping[str, Any]] = ()
    """Rows of metrics.jsonl as they were appended: `step`, `phase`; optional `loss`, `lr`, `grad_norm`,
    `tokens_per_s`, `idle_ratio`. Other keys and rows without a step are left alone; of a step that was taken again
    after a resume the last row counts."""
    verdicts: Sequence[Mapping[str, Any]] = ()
    """One row per verdict, in their order: `step`, `exercise`, `verdict`, `mean_loss`, `loss_spread`."""
    baselines: Mapping[str, float | None] = field(default_factory=dict)
    """The last values of `L_average`, `L_b`, `sigma_average`, `sigma_b`; each may be missing."""
    lag: Sequence[Mapping[str, Any]] = ()
    """One row per child at its first visit: `kind`, `lag_steps`, `lag_s`."""
    coverage: Sequence[Mapping[str, Any]] = ()
    """One row per key concept of a syllabus: `subject`, `session`, `concept`, `ordered`, `written`."""


def render(data: ReportData) -> str:
    """The page as text. Lone surrogates, which JSON can smuggle in and UTF-8 cannot hold, become `?`."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters.update(percent=words.percent, number=words.number, short=words.short, duration=words.duration)
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template("report.html.j2").render(
        summary=data.summary,
        title=facts.title(data.config, data.graph),
        cards=facts.cards(data.summary),
        skills=facts.skill_rows(data.summary, data.graph),
        coverage=facts.coverage_rows(data.coverage, data.graph),
        facts=facts.run_facts(data.summary, data.config),
        gain=facts.gain(data.summary),
        charts=_charts(data),
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def write(data: ReportData, run: RunFiles) -> None:
    run.write_text(FILE, render(data))


def _steps(metrics: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last row of each step, in the order of the steps."""
    latest = {row["step"]: row for row in metrics if row.get("step") is not None}
    return [latest[step] for step in sorted(latest)]


def _charts(data: ReportData) -> dict[str, Any]:
    metrics = _steps(data.metrics)
    drawing, implied = graph.skill_graph(data.graph, data.summary.accuracy.per_skill)
    return {
        "accuracy": accuracy.intervals(data.summary.accuracy),
        "graph": drawing,
        "implied": implied,
        "loss": training.loss_curve(metrics),
        "pace": training.pace(metrics),
        "over_time": verdicts.over_time(data.verdicts),
        "map": verdicts.dynamics_map(data.verdicts, data.baselines),
        "map_note": verdicts.map_note(data.verdicts),
        "written": generation.written(data.summary),
        "rejected": generation.rejected(data.summary),
        "lag": generation.lag(data.lag),
        "phases": facts.phase_bars(data.summary),
    }
