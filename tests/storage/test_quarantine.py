"""Which verdicts stand after restarts of the trainer and after restoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsa_ray.storage.journal import SegmentWriter
from dsa_ray.storage.quarantine import quarantined, standing_verdicts


def verdict(exercise: int, step: int, kind: str = "erroneous", cycle: int = 0) -> dict[str, Any]:
    actions = ["drop"] if kind == "erroneous" else []
    row = {"exercise": exercise, "cycle": cycle, "step": step, "verdict": kind, "decision": {"actions": actions}}
    return {"event": "verdict", **row}


def journal(folder: Path, *events: dict[str, Any]) -> str:
    SegmentWriter(str(folder), "events").write(list(events))
    return str(folder)


def test_a_restart_makes_later_verdicts_void_unless_they_fall_again(tmp_path: Path) -> None:
    back = {"event": "attempt", "attempt": 2, "step": 40}
    events = [verdict(7, 30), verdict(8, 50), verdict(9, 50), back, verdict(9, 55, "hard_to_learn")]
    path = journal(tmp_path, *events)
    assert [(row["exercise"], row["verdict"]) for row in standing_verdicts(path)] == [
        (7, "erroneous"),
        (9, "hard_to_learn"),
    ]
    assert set(quarantined(path)) == {7}


def test_what_was_taken_back_counts_only_where_it_is_asked_for(tmp_path: Path) -> None:
    path = journal(tmp_path, verdict(7, 30), {"event": "restore", "exercises": [7]}, verdict(7, 60, "hard", cycle=1))
    assert [row["cycle"] for row in standing_verdicts(path)] == [0, 1]
    assert [row["cycle"] for row in standing_verdicts(path, taken_back=False)] == [1]
