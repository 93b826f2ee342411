"""The Grafana dashboard of a run, from a list of panels: `dsa docs dashboard` writes it, `cluster/grafana.json` is it.

Queries name metrics as Prometheus knows them (`ray_dsa_...`, `ray_vllm_...`). Sums over the series of one run drop the
labels that Ray adds, which change when the driver starts anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dsa_ray.report.metrics import RUN

RUN_FILTER = f'{RUN}=~"$run"'
WIDTH, HEIGHT = 8, 7
"""Of a panel, in the 24 columns of a Grafana grid."""
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its queries with the legend of each."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    about: str = ""
    kind: str = "timeseries"


def _newest(name: str, by: str = "") -> str:
    """The value of one series per run (and label), however many drivers have published it."""
    labels = f"{RUN}, {by}" if by else RUN
    return f"max by ({labels}) (ray_dsa_{name}{{{RUN_FILTER}}})"


def _plain(title: str, name: str, unit: str = "short", about: str = "", kind: str = "timeseries") -> Panel:
    return Panel(title, ((_newest(name), "{{run}}"),), unit, about, kind)


def _split(title: str, name: str, by: str, unit: str = "short", about: str = "") -> Panel:
    return Panel(title, ((_newest(name, by), f"{{{{run}}}} {{{{{by}}}}}"),), unit, about)


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    ("Is it moving?", (
        Panel("Phase", ((f'max by ({RUN}, phase) (ray_dsa_phase{{{RUN_FILTER}}}) == 1', "{{run}}: {{phase}}"),),
              kind="stat"),
        Panel("Steps", ((_newest("train_step"), "{{run}} done"), (_newest("train_steps_planned"), "{{run}} planned"))),
        Panel("Without progress", ((_newest("no_progress_seconds"), "{{run}}"),
                                   (_newest("stall_limit_seconds"), "{{run}} limit")), "s",
              "At its limit (watch.stall_s) the run ends with exit code 3 and names what is stuck."),
        Panel("Driver last seen", ((f"time() - {_newest('heartbeat_seconds')}", "{{run}}"),), "s"),
        _plain("Trainer restarts", "restarts"),
        Panel("Steps since the last checkpoint",
              ((f"{_newest('train_step')} - {_newest('checkpoint_step')}", "{{run}}"),),
              about="What a crash now would have to train again."),
    )),
    ("Which side is the bottleneck?", (
        Panel("Idle ratio", ((_newest("train_idle_ratio"), "{{run}} trainer"),
                             (f"avg by ({RUN}) (ray_dsa_generate_idle_ratio{{{RUN_FILTER}}})", "{{run}} teacher")),
              "percentunit", "The side that waits is not the bottleneck."),
        _split("Queues", "queue_depth", "queue",
               about="unvisited near 0 with an idle trainer: the teacher is too slow."),
        _split("Backlog", "backlog", "teacher"),
        Panel("Feedback lag, steps", ((_newest("feedback_lag_steps", "quantile"), "{{run}} {{quantile}}"),)),
        _split("Feedback lag, seconds", "feedback_lag_seconds", "quantile", "s"),
        _plain("Oldest request", "oldest_request_seconds", "s"),
    )),
    ("Training", (
        _plain("Loss", "train_loss"),
        _plain("Tokens per second", "train_tokens_per_s"),
        _plain("Step time", "train_step_seconds", "s"),
        _plain("Gradient norm", "train_grad_norm"),
        _plain("Learning rate", "train_learning_rate", "sci"),
        _plain("Model FLOPs utilisation", "train_mfu", "percentunit", "Known cards, or train.peak_tflops."),
    )),
    ("Generation", (
        Panel("Replicas", ((_newest("generate_replicas"), "{{run}} ready"),
                           (_newest("generate_replaced"), "{{run}} replaced for garbage"))),
        _split("Tokens per second", "generate_tokens_per_s", "replica"),
        _split("In flight", "generate_in_flight", "replica"),
        _split("Failed requests", "generate_errors", "replica"),
        _split("Since the last answer", "generate_silent_seconds", "replica", "s"),
        _split("Tokens written and asked", "generate_tokens", "of", about="accepted / answers is the accepted share."),
        _plain("Spent", "spent_money", about="At the teachers' prices."),
    )),
    ("Curriculum", (
        Panel("Written", ((_newest("exercises_written"), "{{run}} exercises"),
                          (_newest("textbooks"), "{{run}} textbooks"),
                          (_newest("textbooks_wanted"), "{{run}} textbooks wanted"),
                          (_newest("skills"), "{{run}} skills"))),
        Panel("Accepted per minute", ((f"60 * deriv(ray_dsa_exercises_written{{{RUN_FILTER}}}[5m])", "{{run}}"),)),
        _split("Rejections", "rejections", "reason"),
        _split("Verdicts", "verdicts", "verdict"),
        _split("Decisions", "decisions", "decision"),
        _split("Ladders", "ladders", "state"),
        Panel("Children", ((_newest("children", "kind, state"), "{{run}} {{kind}} {{state}}"),)),
        _split("Mastery by level", "mastery_ratio", "level", "percentunit",
               "Share of a level's judged exercises that are easy now."),
    )),
    ("vLLM (teachers on GPUs)", (
        Panel("Requests running", (("sum by (WorkerId) (ray_vllm_num_requests_running)", "{{WorkerId}}"),)),
        Panel("Requests waiting", (("sum by (WorkerId) (ray_vllm_num_requests_waiting)", "{{WorkerId}}"),)),
        Panel("KV cache in use", (("max by (WorkerId) (ray_vllm_kv_cache_usage_perc)", "{{WorkerId}}"),),
              "percentunit"),
    )),
)  # fmt: skip


def queries() -> list[str]:
    """Every query of the dashboard."""
    return [query for _, panels in ROWS for panel in panels for query, _ in panel.queries]


def dashboard() -> dict[str, Any]:
    """What Grafana imports."""
    return {
        "title": "dsa_ray",
        "uid": "dsa-ray",
        "tags": ["dsa_ray", "ray"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource_variable(), _run_variable()]},
        "panels": list(_panels()),
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=1) + "\n"


def _panels() -> Iterable[dict[str, Any]]:
    number, top = 1, 0
    for title, panels in ROWS:
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
        }
        number, top = number + 1, top + 1
        for place, panel in enumerate(panels):
            down, across = divmod(place, 24 // WIDTH)
            grid = {"x": across * WIDTH, "y": top + down * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield {"id": number, "gridPos": grid, **_panel(panel)}
            number += 1
        top += -(-len(panels) // (24 // WIDTH)) * HEIGHT


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {"textMode": "name"} if panel.kind == "stat" else {"legend": {"displayMode": "list"}},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": _DATASOURCE, "expr": query, "legendFormat": legend}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def _datasource_variable() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _run_variable() -> dict[str, Any]:
    return {
        "name": RUN,
        "type": "query",
        "label": "Run",
        "datasource": _DATASOURCE,
        "query": {"query": f"label_values(ray_dsa_phase, {RUN})", "refId": RUN},
        "definition": f"label_values(ray_dsa_phase, {RUN})",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }
