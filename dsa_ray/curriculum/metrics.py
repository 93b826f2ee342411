"""One line per logging step, from what the ranks report, and the totals of a run."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

LOG_EVERY = 5
"""Steps per line of metrics.jsonl."""
RECENT_STEPS = 20
"""Steps over which the live figures run."""


class StepMetrics:
    """Joins the ranks' reports of a step; a step counts when all have reported it.

    Args:
        ranks: data-parallel workers.
    """

    def __init__(self, ranks: int) -> None:
        self._ranks = ranks
        self._partial: dict[int, list[Mapping[str, Any]]] = {}
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT_STEPS)
        self._lines: list[dict[str, Any]] = []
        self._group: list[dict[str, Any]] = []
        self._totals: dict[str, dict[str, float]] = {}
        self._losses: dict[str, list[float]] = {}
        self._spent: Counter[str] = Counter()

    def begin_attempt(self, ranks: int, state: Mapping[str, Any] | None = None) -> None:
        """The totals go back to those of a checkpoint, or to nothing: what was lost since does not count."""
        self._ranks, self._partial, self._group = ranks, {}, []
        self._totals = {phase: dict(sums) for phase, sums in state["totals"].items()} if state else {}
        self._losses = {phase: list(losses) for phase, losses in state["losses"].items()} if state else {}

    def state_dict(self) -> dict[str, Any]:
        """The totals so far."""
        totals = {phase: dict(sums) for phase, sums in self._totals.items()}
        return {"totals": totals, "losses": {phase: list(losses) for phase, losses in self._losses.items()}}

    def spend(self, what: str, seconds: float) -> None:
        """Training stood still for this: the next line has it as `time/<what>`."""
        self._spent[what] += seconds

    def add(self, report: Mapping[str, Any], gauges: Callable[[], dict[str, Any]]) -> None:
        """Take a rank's report: step, phase, lr, loss, grad_norm, tokens, loss_tokens, wait_s, step_s; and, where it is
        known, peak_tokens_per_s.

        `loss` is the token mean of the rank's rows, in nats. `gauges` is asked once per line.
        """
        partial = self._partial.setdefault(report["step"], [])
        partial.append(report)
        if len(partial) < self._ranks:
            return
        step = self._joined(self._partial.pop(report["step"]))
        self._count(step)
        self._recent.append(step)
        self._group.append(step)
        if len(self._group) >= LOG_EVERY:
            self._line(gauges)

    def close(self, gauges: Callable[[], dict[str, Any]]) -> None:
        """Training is over: a line for the steps that fill no group."""
        if self._group:
            self._line(gauges)

    def drain(self) -> list[dict[str, Any]]:
        """The lines since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def status(self) -> dict[str, Any]:
        """Recent figures; empty before the first step."""
        return {"train": _mean_of(list(self._recent))} if self._recent else {}

    def totals(self) -> dict[str, Any]:
        """Per phase: steps, tokens, loss_tokens, wait_s (mean of ranks), step_s, idle_ratio, tokens_per_s, losses."""
        totals = {}
        for phase, sums in self._totals.items():
            losses = self._losses[phase]
            edge = max(1, min(RECENT_STEPS, len(losses) // 4))
            totals[phase] = {
                **sums,
                "idle_ratio": _share(sums["wait_s"], sums["step_s"]),
                "tokens_per_s": sums["tokens"] / max(1e-9, sums["step_s"] + sums["wait_s"]),
                "loss_first": sum(losses[:edge]) / edge,
                "loss_last": sum(losses[-edge:]) / edge,
            }
        return totals

    def _line(self, gauges: Callable[[], dict[str, Any]]) -> None:
        spent = {f"time/{what}": seconds for what, seconds in self._spent.items()}
        self._lines.append({**_mean_of(self._group), **spent, **gauges()})
        self._group, self._spent = [], Counter()

    def _joined(self, reports: list[Mapping[str, Any]]) -> dict[str, Any]:
        first = reports[0]
        step_s = max(report["step_s"] for report in reports)
        return {
            "step": first["step"],
            "phase": first["phase"],
            "lr": first["lr"],
            "grad_norm": first["grad_norm"],
            "loss": _mean_loss(reports),
            "tokens": sum(report["tokens"] for report in reports),
            "loss_tokens": sum(report["loss_tokens"] for report in reports),
            "wait_s": sum(report["wait_s"] for report in reports) / len(reports),
            "step_s": step_s,
            "ranks": len(reports),
            "peak_tokens_per_s": _sum_of_known([report.get("peak_tokens_per_s") for report in reports]),
            "time": time.time(),
        }

    def _count(self, step: dict[str, Any]) -> None:
        sums = self._totals.setdefault(
            step["phase"], {"steps": 0, "tokens": 0, "loss_tokens": 0, "wait_s": 0.0, "step_s": 0.0}
        )
        sums["steps"] += 1
        for key in ("tokens", "loss_tokens", "wait_s", "step_s"):
            sums[key] += step[key]
        self._losses.setdefault(step["phase"], []).append(step["loss"])


def _share(waited: float, worked: float) -> float:
    """Share of the time that was spent waiting for rows."""
    return waited / (waited + worked) if waited + worked else 0.0


def _sum_of_known(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if len(known) == len(figures) else None


def _mean_loss(reports: list[Mapping[str, Any]]) -> float:
    tokens = sum(report["loss_tokens"] for report in reports)
    return sum(report["loss"] * report["loss_tokens"] for report in reports) / max(1, tokens)


def _mean_of(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """One line for a group of steps: means of levels, rates over the group's time, the last step's number."""
    last = steps[-1]
    waited = sum(step["wait_s"] for step in steps)
    seconds = sum(step["step_s"] for step in steps)
    tokens = sum(step["tokens"] for step in steps)
    tokens_per_s, peak = tokens / max(1e-9, seconds + waited), last["peak_tokens_per_s"]
    return {
        "step": last["step"],
        "phase": last["phase"],
        "lr": last["lr"],
        "time": round(last["time"], 3),
        "loss": sum(step["loss"] for step in steps) / len(steps),
        "grad_norm": sum(step["grad_norm"] for step in steps) / len(steps),
        "tokens": tokens,
        "tokens_per_s": tokens_per_s,
        **({"mfu": tokens_per_s / peak} if peak else {}),
        "idle_ratio": _share(waited, seconds),
        "step_s": seconds / len(steps),
        "time/step": seconds / len(steps),
        "time/wait": waited / len(steps),
        "ranks": last["ranks"],
    }
