"""What ladders taught, taken into the run that they are of: its next steps train on it.

    RUN/ladders/samples.jsonl -> `written` journal, kind `given`     exercises of the run when it is resumed

    python jobs/ladders.py RUN --take-in && dsa run CONFIG --resume train.steps=600

Each sample keeps its own tokens: of a dialogue only the accepted turn carries loss. From then on it is an exercise like
any other: its losses are judged, and what it descends from is on record. Idempotent; the run must not be running.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dsa_ray.curriculum.host import EVENTS
from dsa_ray.ladders.samples import LADDER, as_exercise, sample_name
from dsa_ray.records import Written
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, written_row

SAMPLES = "ladders/samples.jsonl"
GROUP = 512


@dataclass(slots=True)
class _Journal:
    """What is in a run's journal, as far as it matters here."""

    highest: int = 0
    """Largest id that was ever used."""
    difficulty: dict[int, int] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    """Samples that are exercises of the run already."""

    @classmethod
    def read(cls, run: RunFolder) -> _Journal:
        found = cls()
        for _, rows in iter_segments(run.journal, EVENTS):
            for row in rows:
                if row["event"] in ("request", "plant", "seeds", "reserve", "ladder"):
                    found.highest = max(found.highest, row["id"])
        for _, rows in iter_segments(run.journal, STREAM):
            for row in rows:
                found.highest = max(found.highest, row["id"])
                found.difficulty[row["id"]] = row["difficulty"]
                found.taken.update(result for name, result in row["checks"] if name == LADDER)
        return found


def take_in(run: RunFolder) -> Counter[str]:
    """Write the samples of a run's ladders into its journal, those that are not there yet.

    Args:
        run: locked, as `RunFolder.create` gives it.

    Returns:
        how many samples of each stage were taken in.
    """
    journal = _Journal.read(run)
    rows = [json.loads(line) for line in run.read_text(SAMPLES).splitlines()] if run.exists(SAMPLES) else []
    items = list(_items(journal, rows))
    if not items:
        return Counter()
    # First the ids: a run that is killed in between must not mint them again.
    SegmentWriter(run.journal, EVENTS).write([{"event": "reserve", "id": items[-1].request.id}])
    writer = SegmentWriter(run.journal, STREAM)
    for start in range(0, len(items), GROUP):
        writer.write([written_row(item) for item in items[start : start + GROUP]])
    return Counter(dict(item.checks)["stage"] for item in items)


def _items(journal: _Journal, rows: list[dict[str, Any]]) -> Iterator[Written]:
    number = journal.highest
    for row in rows:
        if sample_name(row) not in journal.taken:
            number += 1
            yield as_exercise(row, number, journal.difficulty.get(row["ladder"], 1))
