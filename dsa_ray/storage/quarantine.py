"""What a run has dropped as erroneous and could take back, with the evidence: read from its journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsa_ray.records import Action
from dsa_ray.storage.journal import iter_segments

RESTORE = "restore"
"""Key of an edit (`storage.edits`) that takes exercises back, and name of the event that tells so."""


def quarantined(journal: str) -> dict[int, Mapping[str, Any]]:
    """The verdict event by which each dropped exercise was dropped, in the order of the verdicts.

    Those that a restart of the trainer made void, or that somebody took back, are not among them.
    """
    dropped: dict[int, Mapping[str, Any]] = {}
    for _, rows in iter_segments(journal, "events"):
        for row in rows:
            if row["event"] == "verdict" and Action.DROP in row["decision"]["actions"]:
                dropped.setdefault(row["exercise"], row)
            elif row["event"] == "attempt":
                dropped = {exercise: event for exercise, event in dropped.items() if event["step"] <= row["step"]}
            elif row["event"] == RESTORE:
                for exercise in row["exercises"]:
                    dropped.pop(exercise, None)
    return dropped
