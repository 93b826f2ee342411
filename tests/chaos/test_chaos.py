"""Schedules and invariants by themselves, and one schedule for real; `make chaos` plays many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.exits import Exit
from dsa_ray.storage.journal import SegmentWriter
from tests.chaos.invariants import _items, _losses, _state, violations
from tests.chaos.play import Play, Played, _tear, rows, texts
from tests.chaos.schedules import ACTORS, REPLICAS, WHOLE, WORKERS, draw
from tests.chaos.teacher import FailingWriter, order

SEED = 4177
"""A dead engine, and a dead curator after it."""


def test_a_seed_draws_the_same_schedule_and_many_seeds_reach_every_target() -> None:
    drawn = [draw(seed) for seed in range(300)]
    assert drawn == [draw(seed) for seed in range(300)]
    killed = {fault.target for schedule in drawn for fault in schedule.faults if fault.kind == "kill"}
    assert killed == {*REPLICAS, *WORKERS, *ACTORS, *WHOLE}
    kinds = {"kill", "stop", "engine", "disk", "torn", "clock", "node"}
    assert {fault.kind for schedule in drawn for fault in schedule.faults} == kinds
    assert {len(schedule.faults) for schedule in drawn} == {1, 2, 3}
    assert {(schedule.delays, schedule.drops) for schedule in drawn} == {(a, b) for a in (0, 1) for b in (0, 1)}


def journal(folder: Path, stream: str, *segments: list[dict[str, Any]]) -> None:
    writer = SegmentWriter(str(folder / "journal"), stream)
    for segment in segments:
        writer.write(segment)


def item(id: int, text: str = "What is 1 + 1?") -> dict[str, Any]:
    return {"id": id, "item": {"question": text}}


def observed(step: int, rank: int = 0) -> dict[str, Any]:
    return {"event": "observe", "step": step, "rank": rank}


def test_items_that_are_lost_changed_doubled_or_of_no_request_are_violations(tmp_path: Path) -> None:
    journal(tmp_path, "written", [item(1), item(2)])
    played = Played(tmp_path, noted=texts(tmp_path))
    requests = [{"event": "request", "id": id} for id in (1, 2)]
    assert _items(played, requests) == []
    journal(tmp_path, "written", [item(2, "Another?"), item(3)])
    played.noted[4] = "{}"
    found = _items(played, [*requests, {"event": "request", "id": 1}])
    assert found == [
        "lost: [4]",
        "changed: [2]",
        "written twice: [2]",
        "requested twice: [1]",
        "written without a request: [3]",
    ]


def test_a_loss_counts_once_and_no_step_is_missing() -> None:
    again = {"event": "attempt", "step": 1}
    assert _losses([observed(1), observed(1, rank=1), observed(2), again, observed(2)]) == []
    assert _losses([observed(1), observed(2), observed(2)]) == ["losses counted twice, (step, rank): [(2, 0)]"]
    assert _losses([observed(1), observed(3)]) == ["steps that nobody observed: [2]"]


def test_a_run_that_stopped_short_or_holds_leases_is_a_violation(tmp_path: Path) -> None:
    status = {"open_rows": 0, "step": 9, "steps": 9}
    (tmp_path / "status.json").write_text(json.dumps(status))
    (tmp_path / "summary.json").write_text(json.dumps({"state": "finished"}))
    assert _state(Played(tmp_path)) == []
    (tmp_path / "status.json").write_text(json.dumps(status | {"open_rows": 2, "step": 8}))
    (tmp_path / "summary.json").write_text(json.dumps({"state": "failed"}))
    assert _state(Played(tmp_path)) == ["2 rows are still leased", "ended at step 8 of 9", "summary says failed"]
    failed = Played(tmp_path, outputs=["a reason"], codes=[Exit.FAILED], faults=["left behind: ray"])
    assert violations(failed) == ["left behind: ray", "ended with [1]: a reason"]
    (tmp_path / "failure.json").write_text(json.dumps({"reason": "no step for 121 s"}))
    assert violations(failed)[1:] == ["ended with [1]: no step for 121 s | a reason"]


@pytest.mark.filterwarnings("ignore:.*torn or corrupt")
def test_a_torn_journal_still_has_all_that_was_whole(tmp_path: Path) -> None:
    journal(tmp_path, "written", [item(1)], [item(2), item(3)])
    _tear(tmp_path / "journal")
    assert len(list((tmp_path / "journal").iterdir())) == 3
    assert [row["id"] for row in rows(tmp_path, "written")] == [1, 2, 3]


def test_an_engine_fails_as_often_as_it_is_told(tmp_path: Path) -> None:
    writer = FailingWriter(None, tmp_path)  # type: ignore[arg-type]
    order(tmp_path, "error", 2)
    assert [writer._order() for _ in range(3)] == ["error", "error", None]


@pytest.mark.slow
@pytest.mark.ring
@pytest.mark.timeout(420)
def test_one_schedule_leaves_nothing_lost_doubled_or_behind(tmp_path: Path) -> None:
    schedule = draw(SEED)
    played = Play(schedule, tmp_path / "run").play()
    assert violations(played) == []
    assert played.done == [str(fault) for fault in schedule.faults]
    assert played.codes == [Exit.OK]
