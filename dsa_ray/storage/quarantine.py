"""The verdicts of a run that stand, and what it has dropped and could take back: read from its journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsa_ray.records import Action
from dsa_ray.storage.journal import iter_segments

RESTORE = "restore"
"""Key of an edit (`storage.edits`) that takes exercises back, and name of the event that tells so."""


def standing_verdicts(journal: str, *, taken_back: bool = True) -> list[Mapping[str, Any]]:
    """The verdict events of a run, as they fell; none that a restart of the trainer made void.

    Args:
        taken_back: also those of exercises that somebody took back since.
    """
    standing: dict[tuple[int, int], Mapping[str, Any]] = {}
    for _, rows in iter_segments(journal, "events"):
        for row in rows:
            if row["event"] == "verdict":
                standing[row["exercise"], row["cycle"]] = row
            elif row["event"] == "attempt":
                standing = {key: event for key, event in standing.items() if event["step"] <= row["step"]}
            elif row["event"] == RESTORE and not taken_back:
                standing = {key: event for key, event in standing.items() if key[0] not in row["exercises"]}
    return list(standing.values())


def quarantined(journal: str) -> dict[int, Mapping[str, Any]]:
    """The verdict event by which each dropped exercise was dropped, in the order of the verdicts.

    Those that a restart of the trainer made void, or that somebody took back, are not among them.
    """
    dropped: dict[int, Mapping[str, Any]] = {}
    for row in standing_verdicts(journal, taken_back=False):
        if Action.DROP in row["decision"]["actions"]:
            dropped.setdefault(row["exercise"], row)
    return dropped
