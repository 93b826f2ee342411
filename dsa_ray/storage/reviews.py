"""The items of a run as they are meant to be used: once each, with the answers that won, without what was dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dsa_ray.records import Kind, Written
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.texts import STREAM, written_from_row


def items(journal: str) -> Iterator[Written]:
    """Every written item in order, from its first place."""
    seen: set[int] = set()
    for _, rows in iter_segments(journal, STREAM):
        for row in rows:
            if row["id"] not in seen:
                seen.add(row["id"])
                yield written_from_row(row)


def reviewed(journal: str, everything: bool = False) -> Iterator[Written]:
    """The items without the answers and critiques of reviews.

    An exercise that was outvoted comes with the text of the answer that won; one that a review dropped does not come.

    Args:
        journal: the run's.
        everything: the dropped ones too.
    """
    findings = _findings(journal)
    winners = {review["winner"] for number, review in findings.items() if review["winner"] != number}
    answers = {item.request.id: item for item in items(journal) if item.request.id in winners} if winners else {}
    for item in items(journal):
        if item.request.kind in (Kind.ANSWER, Kind.CRITIQUE):
            continue
        review = findings.get(item.request.id)
        if review is not None and not review["kept"] and not everything:
            continue
        winner = answers.get(review["winner"]) if review is not None and review["kept"] else None
        yield item if winner is None else replace(winner, request=item.request, content_hash=item.content_hash)


def _findings(journal: str) -> dict[int, Mapping[str, Any]]:
    return {row["id"]: row for _, rows in iter_segments(journal, "events") for row in rows if row["event"] == "review"}
