from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dsa_ray.config import Config, parse
from dsa_ray.report.status import status_lines

LINE = {"step": 40, "phase": "exercises", "time": 1000.0, "loss": 1.5, "tokens_per_s": 812.345, "queue_depth": 7}


@dataclass
class Run:
    metrics: list[dict[str, Any]] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    path: str = "/runs/a"
    config: Config = field(
        default_factory=lambda: parse({"run": {"name": "a"}, "graph": {"target": "calculus"}, "train": {"steps": 50}})
    )

    def exists(self, name: str) -> bool:
        return name in self.files

    def read_metrics(self) -> list[dict[str, Any]]:
        return self.metrics


def test_a_run_that_trains_shows_its_last_figures() -> None:
    text = "\n".join(status_lines(Run([{"step": 1}, LINE]), now=1003.0))
    for words in (
        "training; the last line was written 3 s ago",
        "step       40 (exercises; 50",
        "loss 1.5",
        "queue_depth 7",
    ):
        assert words in text


def test_a_run_that_went_quiet_is_told_so() -> None:
    assert "or interrupted: the last line was written 10 minutes ago" in status_lines(Run([LINE]), now=1600.0)[0]


def test_a_run_that_is_over_points_to_its_report() -> None:
    assert "dsa report" in status_lines(Run([LINE], {"summary.json"}), now=1600.0)[0]


def test_a_value_that_was_not_finite_does_not_matter() -> None:
    assert "loss None" in "\n".join(status_lines(Run([{**LINE, "loss": None}]), now=1000.0))
