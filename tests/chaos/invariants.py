"""What holds after any schedule, read from the run folder alone."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from typing import Any

from dsa_ray.cli import main
from dsa_ray.exits import Exit
from tests.chaos.play import Played, rows, texts


def violations(played: Played) -> list[str]:
    """What does not hold; nothing where all is well."""
    found = list(played.faults)
    if played.codes[-1] != Exit.OK:
        codes, last = played.codes, [line for line in played.outputs[-1].splitlines() if line.strip()][-12:]
        told = played.folder / "failure.json"
        reason = [json.loads(told.read_text())["reason"]] if told.exists() else []
        return [*found, f"ended with {[int(code) for code in codes]}: " + " | ".join([*reason, *last])]
    events = list(rows(played.folder, "events"))
    return [*found, *_items(played, events), *_losses(events), *_state(played), *_replay(played)]


def _items(played: Played, events: list[dict[str, Any]]) -> list[str]:
    """No accepted exercise is lost, changed, doubled or written for a request that was given twice."""
    found = []
    now = texts(played.folder)
    lost = played.noted.keys() - now.keys()
    changed = [item for item in played.noted.keys() & now.keys() if played.noted[item] != now[item]]
    written = Counter(row["id"] for row in rows(played.folder, "written"))
    minted = Counter(event["id"] for event in events if event["event"] == "request")
    for what, ids in (
        ("lost", lost),
        ("changed", changed),
        ("written twice", [item for item, count in written.items() if count > 1]),
        ("requested twice", [item for item, count in minted.items() if count > 1]),
        ("written without a request", written.keys() - minted.keys()),
    ):
        if ids:
            found.append(f"{what}: {sorted(ids)[:8]}")
    return found


def _losses(events: list[dict[str, Any]]) -> list[str]:
    """Of what stands after the last attempt every step was observed by each rank once, and no step is missing."""
    standing: dict[tuple[int, int], int] = {}
    found = []
    for event in events:
        if event["event"] == "attempt":
            standing = {key: n for key, n in standing.items() if key[0] <= event["step"]}
        elif event["event"] == "observe":
            key = event["step"], event["rank"]
            standing[key] = standing.get(key, 0) + 1
    if twice := sorted(key for key, count in standing.items() if count > 1):
        found.append(f"losses counted twice, (step, rank): {twice[:8]}")
    steps = {step for step, _ in standing}
    if missing := sorted(set(range(1, max(steps, default=0) + 1)) - steps):
        found.append(f"steps that nobody observed: {missing[:8]}")
    return found


def _state(played: Played) -> list[str]:
    """The run ended as it should: no lease is open, and it tells so."""
    status = json.loads((played.folder / "status.json").read_text())
    summary = json.loads((played.folder / "summary.json").read_text())
    found = []
    if status["open_rows"]:
        found.append(f"{status['open_rows']} rows are still leased")
    if status["step"] != status["steps"]:
        found.append(f"ended at step {status['step']} of {status['steps']}")
    if summary["state"] != "finished":
        found.append(f"summary says {summary['state']}")
    return found


def _replay(played: Played) -> list[str]:
    """The journal leads to the verdicts and decisions that the run came to."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = main(["replay", str(played.folder)])
    return [] if code == Exit.OK else [f"replay: {told.getvalue().strip()[-500:]}"]
