from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dsa_ray.config import Config, parse
from dsa_ray.report.status import status_lines

STATUS = {
    "phase": "exercises",
    "step": 40,
    "steps": 60,
    "textbook_steps": 10,
    "skills": 24,
    "textbooks": 17,
    "textbooks_wanted": 17,
    "written": 412,
    "rejected": 13,
    "queue_depth": 7,
    "outstanding": 64,
    "unvisited": 30,
    "open_rows": 16,
    "verdicts": {"easy_to_learn": 3},
    "children": {"variant": {"written": 4, "trained": 2}},
    "attempt": 2,
    "exam": 1,
    "time": 1000.0,
    "train": {"step": 40, "loss": 1.23456, "grad_norm": None},
}


@dataclass
class Run:
    files: dict[str, Any]
    path: str = "/runs/a"
    config: Config = field(
        default_factory=lambda: parse({"run": {"name": "a"}, "graph": {"target": "calculus"}, "train": {"steps": 50}})
    )

    def exists(self, name: str) -> bool:
        return name in self.files

    def read_text(self, name: str) -> str:
        return json.dumps(self.files[name])


def state(now: float = 1003.0, **files: Any) -> str:
    return status_lines(Run({f"{name}.json": content for name, content in files.items()}), now)[0]


def test_a_run_at_work_shows_how_far_it_is() -> None:
    text = "\n".join(status_lines(Run({"status.json": STATUS}), now=1003.0))
    for words in (
        "at work, exercises",
        "40 of 60 (10 of them on textbooks)",
        "loss 1.235",
        "requests 7, in flight 64",
        "variant 2 trained of 4 written",
        "easy_to_learn 3",
        "restarts   1",
    ):
        assert words in text
    assert "grad_norm" not in text


def test_a_run_that_has_not_begun_says_so() -> None:
    assert state().endswith("not started yet")


def test_a_run_that_fell_silent_points_to_resuming() -> None:
    assert "last heard of 10 minutes ago); go on with --resume" in state(1600.0, status=STATUS)


def test_a_run_that_is_over_points_to_its_report() -> None:
    over = {"state": "finished"}
    assert "finished; see `dsa report`" in state(1600.0, status=STATUS, summary=over)
    assert "finished; see `dsa report`" in state(1001.0, status={**STATUS, "over": True}, summary=over)


def test_a_failed_run_names_its_reason_until_it_is_resumed() -> None:
    failure = {"reason": "the trainer failed: NaN\nmore", "time": 1001.0}
    summary = {"state": "failed"}
    assert state(1600.0, status=STATUS, failure=failure, summary=summary).endswith("failed: the trainer failed: NaN")
    assert "at work" in state(1003.0, status={**STATUS, "time": 1002.0}, failure=failure, summary=summary)


def test_a_taxonomys_run_shows_how_many_key_concepts_have_an_exercise() -> None:
    totals = {"coverage": {"concepts": 40, "covered": 12}}
    lines = status_lines(Run({"status.json": {**STATUS, **totals}}), now=1003.0)
    assert "  coverage   12 of 40 key concepts have an exercise; see `dsa graph show`" in lines
    for none in ({"concepts": 0, "covered": 0}, {}):
        lines = status_lines(Run({"status.json": {**STATUS, "coverage": none}}), now=1003.0)
        assert not any("coverage" in line for line in lines)
