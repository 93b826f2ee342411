"""Written items as rows of the `written` journal, and the store that finds one again by its place."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

from dsa_ray.records import (
    CUT,
    LIST_KINDS,
    Critique,
    Exercise,
    ExerciseRequest,
    Hint,
    Item,
    Kind,
    Prerequisites,
    Textbook,
    TextRef,
    Written,
)
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.journal import JournalError, read_lines, segment_name

STREAM = "written"
"""The journal stream that holds written items."""


def written_row(written: Written) -> dict[str, Any]:
    """The journal row of a written item: flat, JSON types only; `written_from_row` gives back an equal record.

    Raises:
        ValueError: the item is not what its request's kind asks for.
    """
    request = written.request
    if not isinstance(written.item, _item_type(request.kind)):
        raise ValueError(f"request {request.id} of kind {request.kind} holds a {type(written.item).__name__}")
    return {
        "id": request.id,
        "kind": request.kind.value,
        "skills": list(request.skills),
        "difficulty": request.difficulty,
        "parents": list(request.parents),
        "cause": None if request.cause is None else list(request.cause),
        **_concepts(request),
        "attempt": request.attempt,
        "seed": request.seed,
        "item": _item_row(written.item),
        "generator": written.generator,
        "generator_version": written.generator_version,
        "prompt_version": written.prompt_version,
        "content_hash": written.content_hash,
        "answer_hash": written.answer_hash,
        "input_ids": list(written.input_ids),
        "prompt_tokens": written.prompt_tokens,
        "checks": [list(check) for check in written.checks],
        "output_tokens": written.output_tokens,
        "seconds": written.seconds,
        "input_tokens": written.input_tokens,
    }


def written_from_row(row: dict[str, Any]) -> Written:
    """The inverse of `written_row`."""
    return Written(
        request=request_from_row(row),
        item=_item(Kind(row["kind"]), row["item"]),
        generator=row["generator"],
        generator_version=row["generator_version"],
        prompt_version=row["prompt_version"],
        content_hash=row["content_hash"],
        answer_hash=row["answer_hash"],
        input_ids=tuple(row["input_ids"]),
        prompt_tokens=row["prompt_tokens"],
        checks=tuple((name, result) for name, result in row["checks"]),
        output_tokens=row["output_tokens"],
        seconds=row["seconds"],
        input_tokens=row.get("input_tokens", 0),
    )


def numbers(row: Mapping[str, Any], place: int) -> dict[str, Any]:
    """What the curator is told of a written item: numbers and short names, never text.

    Args:
        row: as `written_row` gives it, or as it is read from the journal.
        place: its place in its segment.
    """
    told: dict[str, Any] = {name: row[name] for name in _TOLD}
    if "concepts" in row:
        told["concepts"] = row["concepts"]
    told["tokens"], told["row"] = len(row["input_ids"]), place
    told["cut"] = any(name == "too_long" and result == CUT for name, result in row["checks"])
    told["input_tokens"] = row.get("input_tokens", 0)
    if "names" in row["item"]:
        told["prerequisites"] = row["item"]["names"]
        told["generator"] = f"{row['generator']}@{row['generator_version']}"
    if "score" in row["item"]:
        told["score"] = row["item"]["score"]
    return told


_TOLD = (
    *("id", "kind", "skills", "difficulty", "parents", "cause"),
    *("prompt_tokens", "answer_hash", "output_tokens", "seconds", "generator_version"),
)


class TextStore:
    """Finds written items by their place in the `written` journal of one folder.

    Keeps the last `cache_segments` segments, verified and as text (some 3 kB per row); rows are parsed when asked
    for. Segments are immutable, so nothing is ever stale. Safe to share between threads.

    Args:
        folder: the journal's folder, local path or fsspec URI.
        cache_segments: how many segments are kept, at least 1.
    """

    def __init__(self, folder: str, cache_segments: int = 256) -> None:
        self._folder = Folder(folder)
        self._capacity = max(1, cache_segments)
        self._segments: OrderedDict[int, list[str]] = OrderedDict()
        self._lock = Lock()

    def get(self, ref: TextRef) -> Written:
        """The item at `ref`. Raises `JournalError` if there is none, or its segment is corrupt."""
        lines = self._lines(ref.segment)
        if not 0 <= ref.row < len(lines):
            name = segment_name(STREAM, ref.segment)
            raise JournalError(f"{self._folder.path(name)}: has {len(lines)} rows, row {ref.row} was asked for")
        return written_from_row(json.loads(lines[ref.row]))

    def _lines(self, segment: int) -> list[str]:
        with self._lock:
            if segment in self._segments:
                self._segments.move_to_end(segment)
                return self._segments[segment]
        lines = read_lines(self._folder, STREAM, segment)
        with self._lock:
            self._segments[segment] = lines
            self._segments.move_to_end(segment)
            while len(self._segments) > self._capacity:
                self._segments.popitem(last=False)
        return lines


def _concepts(request: ExerciseRequest) -> dict[str, Any]:
    return {"concepts": [list(place) for place in request.concepts]} if request.concepts else {}


def _item_type(kind: Kind) -> type:
    if kind in LIST_KINDS:
        return Prerequisites
    types = {Kind.TEXTBOOK: Textbook, Kind.SYLLABUS: Textbook, Kind.CRITIQUE: Critique, Kind.HINT: Hint}
    return types.get(kind, Exercise)


def _item_row(item: Item) -> dict[str, Any]:
    if isinstance(item, Critique):
        return {"critique": item.critique, "score": item.score}
    if isinstance(item, Hint):
        return {"hint": item.hint, "right": item.right}
    if isinstance(item, Prerequisites):
        return {"skill": item.skill, "names": [list(pair) for pair in item.names]}
    if isinstance(item, Textbook):
        return {"skill": item.skill, "text": item.text}
    return {
        "skills": list(item.skills),
        "question": item.question,
        "solution": item.solution,
        "answer": item.answer,
    }


def _item(kind: Kind, row: dict[str, Any]) -> Item:
    if kind is Kind.CRITIQUE:
        return Critique(critique=row["critique"], score=row["score"])
    if kind is Kind.HINT:
        return Hint(hint=row["hint"], right=row["right"])
    if kind in LIST_KINDS:
        return Prerequisites(skill=row["skill"], names=tuple((name, text) for name, text in row["names"]))
    if kind in (Kind.TEXTBOOK, Kind.SYLLABUS):
        return Textbook(skill=row["skill"], text=row["text"])
    return Exercise(
        skills=tuple(row["skills"]), question=row["question"], solution=row["solution"], answer=row["answer"]
    )


def request_from_row(row: Mapping[str, Any]) -> ExerciseRequest:
    """A request from its plain form, as written rows and events hold it."""
    return ExerciseRequest(
        id=row["id"],
        kind=Kind(row["kind"]),
        skills=tuple(row["skills"]),
        difficulty=row["difficulty"],
        parents=tuple(row["parents"]),
        cause=None if row["cause"] is None else (row["cause"][0], row["cause"][1]),
        concepts=tuple((session, concept) for session, concept in row.get("concepts", ())),
        attempt=row.get("attempt", 0),
        seed=row.get("seed", 0),
    )
