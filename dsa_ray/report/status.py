"""Where a run stands, from its folder alone: works beside a live run, after a crash, and on another machine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Protocol

from dsa_ray.config import Config

ALIVE_S = 30.0
"""A live run renews status.json every few seconds; one that has not for this long is no longer at work."""
_RECENT = ("loss", "lr", "grad_norm", "tokens_per_s", "idle_ratio", "step_s")
_LADDERS = {"wanted": "wanted", "over": "over", "accepted": "questions mastered", "samples": "samples"}
_QUEUES = {"queue_depth": "requests", "outstanding": "in flight", "unvisited": "unvisited", "open_rows": "rows"}


class RunView(Protocol):
    """The part of a run folder that is needed here."""

    path: str
    config: Config

    def exists(self, name: str) -> bool: ...

    def read_text(self, name: str) -> str: ...


def status_lines(run: RunView, now: float | None = None) -> list[str]:
    """A few plain lines: state, progress, what was written, verdicts, queues. `now` is Unix seconds."""
    status = _read(run, "status.json")
    lines = [f"{run.path}: {_state(run, status, time.time() if now is None else now)}"]
    rows = {"target": run.config.graph.target, **(_progress(status) if status else {})}
    return lines + [f"  {head:<11}{text}" for head, text in rows.items() if text]


def _state(run: RunView, status: Mapping[str, Any], now: float) -> str:
    failure = _read(run, "failure.json")
    last = status.get("time", 0.0)
    silent = now - last
    over = run.exists("summary.json") and (silent > ALIVE_S or status.get("over"))
    ended = _read(run, "summary.json").get("state", "over") if over else ""
    if failure and (failure["time"] >= last or ended == "failed"):
        return f"failed: {failure['reason'].splitlines()[0]}"
    if over:
        return f"{ended}; see `dsa report`"
    if not status:
        return "not started yet"
    if silent > ALIVE_S:
        return f"not at work (last heard of {silent / 60:.0f} minutes ago); go on with --resume"
    return f"at work, {status['phase']}"


def _progress(status: Mapping[str, Any]) -> dict[str, str]:
    return {
        "graph": f"{status['skills']} skills",
        "textbooks": f"{status['textbooks']} of {status['textbooks_wanted']}",
        "exercises": f"{status['written']} written, {status['rejected']} items rejected",
        "coverage": _coverage(status.get("coverage", {})),
        "steps": f"{status['step']} of {status['steps']} ({status['textbook_steps']} of them on textbooks)",
        "training": ", ".join(
            _figure(key, value)
            for key, value in status.get("train", {}).items()
            if key in _RECENT and value is not None
        ),
        "verdicts": ", ".join(f"{name} {count}" for name, count in status["verdicts"].items()),
        "children": ", ".join(
            f"{kind} {count['trained']} trained of {count['written']} written"
            for kind, count in status["children"].items()
        ),
        "ladders": ", ".join(
            f"{status['ladders'][key]} {name}" for key, name in _LADDERS.items() if key in status.get("ladders", {})
        ),
        "queues": ", ".join(f"{name} {status[key]}" for key, name in _QUEUES.items()),
        "restarts": str(max(0, status["attempt"] - 1)),
        "warnings": "; ".join(status.get("warnings", ())),
    }


def _coverage(totals: Mapping[str, int]) -> str:
    """Of subjects with a syllabus."""
    if not totals.get("concepts"):
        return ""
    return f"{totals['covered']} of {totals['concepts']} key concepts have an exercise; see `dsa graph show`"


def _read(run: RunView, name: str) -> dict[str, Any]:
    """A JSON file of the run, empty where there is none. Files are replaced whole, so none is ever half there."""
    return json.loads(run.read_text(name)) if run.exists(name) else {}


def _figure(key: str, value: Any) -> str:
    return f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
