"""Where a run stands, from its folder alone: works beside a live run, after a crash, and on another machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from dsa_ray.config import Config

QUIET_S = 120.0
"""A run without a new line in its metrics for this long is said to be quiet."""
_SHOWN = ("loss", "lr", "grad_norm", "tokens_per_s", "idle_ratio", "step_s")


class RunView(Protocol):
    """The part of a run folder that is needed here."""

    path: str
    config: Config

    def exists(self, name: str) -> bool: ...

    def read_metrics(self) -> list[dict[str, Any]]: ...


def status_lines(run: RunView, now: float | None = None) -> list[str]:
    """A few plain lines: state, phase and step, the last figures, what to call next. `now` is Unix seconds."""
    metrics = run.read_metrics()
    last = metrics[-1] if metrics else {}
    lines = [f"{run.path}: {_state(run, last, time.time() if now is None else now)}"]
    lines.append(f"  target     {run.config.graph.target}")
    if last:
        lines.append(
            f"  step       {last['step']} ({last['phase']}; {run.config.train.steps} steps on exercises in all)"
        )
        lines.append("  last line  " + ", ".join(_figure(key, last[key]) for key in _SHOWN if key in last))
        others = _others(last)
        if others:
            lines.append("             " + ", ".join(others))
    return lines


def _state(run: RunView, last: Mapping[str, Any], now: float) -> str:
    if run.exists("summary.json"):
        return "over; see `dsa report`"
    if not last:
        return "no step trained yet"
    quiet = max(0.0, now - float(last.get("time", now)))
    if quiet > QUIET_S:
        return f"training, or interrupted: the last line was written {quiet / 60:.0f} minutes ago"
    return f"training; the last line was written {quiet:.0f} s ago"


def _others(last: Mapping[str, Any]) -> list[str]:
    """Numbers that the curator adds: queue depths, exercises written, verdicts."""
    known = {"step", "phase", "time", "tokens", *_SHOWN}
    return [_figure(key, value) for key, value in last.items() if key not in known and isinstance(value, int | float)]


def _figure(key: str, value: Any) -> str:
    return f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
