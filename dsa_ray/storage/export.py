"""The tables that a run leaves: textbooks.parquet and exercises.parquet, from the `written` journal.

They are written segment by segment, so a run of any size needs the memory of a few segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dsa_ray.records import Exercise, Textbook, Written
from dsa_ray.storage.reviews import reviewed
from dsa_ray.storage.run_folder import RunFolder

Messages = Callable[[Written], list[dict[str, str]]]
"""Puts an item as chat messages, each with `role` and `content`."""

TEXTBOOKS = "textbooks.parquet"
EXERCISES = "exercises.parquet"

_ROWS_PER_GROUP = 4096

_ORIGIN = [
    ("id", pa.int64()),
    ("name", pa.string()),
    ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ("skills", pa.list_(pa.string())),
    ("difficulty", pa.int32()),
    ("parents", pa.list_(pa.int64())),
    ("kind", pa.string()),
    ("generator", pa.string()),
    ("generator_version", pa.string()),
    ("prompt_version", pa.string()),
    ("content_hash", pa.int64()),
    ("tokens", pa.int32()),
    ("loss_tokens", pa.int32()),
    ("checks", pa.list_(pa.struct([("check", pa.string()), ("result", pa.string())]))),
]
_DYNAMICS = [
    ("verdict", pa.string()),
    ("losses", pa.list_(pa.float64())),
    ("visits", pa.int32()),
    ("weight", pa.float64()),
    ("children", pa.list_(pa.int64())),
]
TEXTBOOK_SCHEMA = pa.schema([*_ORIGIN, ("text", pa.string()), *_DYNAMICS])
EXERCISE_SCHEMA = pa.schema(
    [*_ORIGIN, ("question", pa.string()), ("solution", pa.string()), ("answer", pa.string()), *_DYNAMICS]
)


def plain_messages(written: Written) -> list[dict[str, str]]:
    """An exercise as user and assistant, the answer on a last line `Answer: ...`; a textbook as one assistant turn."""
    item = written.item
    if isinstance(item, Exercise):
        return [
            {"role": "user", "content": item.question},
            {"role": "assistant", "content": f"{item.solution}\nAnswer: {item.answer}"},
        ]
    if isinstance(item, Textbook):
        return [{"role": "assistant", "content": item.text}]
    raise TypeError(f"item {written.request.id}: a list of prerequisites has no messages")


def write_tables(
    run: RunFolder, facts: Mapping[int, Mapping[str, Any]], messages: Messages = plain_messages
) -> dict[str, int]:
    """Write both tables into the run's folder, replacing older ones; returns the rows of each.

    An item that stands in the journal twice (its writer died before it was acknowledged, and it was written again)
    is taken once, from its first place.

    Args:
        run: the run's folder.
        facts: what training made of an item, by id: any of `verdict` (str), `losses` (list of float, per visit),
            `visits` (int), `weight` (float, 0 = dropped), `children` (list of ids). Items without facts get nulls.
        messages: how an item is put as chat messages.

    Raises:
        JournalError: the journal is corrupt.
    """
    return {
        name: _write_table(run, name, schema, _rows(run, kind, facts, messages))
        for name, schema, kind in ((TEXTBOOKS, TEXTBOOK_SCHEMA, Textbook), (EXERCISES, EXERCISE_SCHEMA, Exercise))
    }


def _rows(
    run: RunFolder, kind: type, facts: Mapping[int, Mapping[str, Any]], messages: Messages
) -> Iterator[dict[str, Any]]:
    for written in reviewed(run.journal):
        if isinstance(written.item, kind):
            yield {
                **_origin(written, messages(written)),
                **_content(written.item),
                **_dynamics(facts.get(written.request.id, {})),
            }


def _origin(written: Written, messages: list[dict[str, str]]) -> dict[str, Any]:
    request = written.request
    return {
        "id": request.id,
        "name": f"{request.skills[0]}.{request.id}",
        "messages": [{role: _clean(text) for role, text in message.items()} for message in messages],
        "skills": list(request.skills),
        "difficulty": request.difficulty,
        "parents": list(request.parents),
        "kind": request.kind.value,
        "generator": written.generator,
        "generator_version": written.generator_version,
        "prompt_version": written.prompt_version,
        "content_hash": written.content_hash,
        "tokens": written.tokens,
        "loss_tokens": written.loss_tokens,
        "checks": [{"check": check, "result": result} for check, result in written.checks],
    }


def _content(item: Any) -> dict[str, str]:
    if isinstance(item, Textbook):
        return {"text": _clean(item.text)}
    return {"question": _clean(item.question), "solution": _clean(item.solution), "answer": _clean(item.answer)}


def _dynamics(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts.get(name) for name, _ in _DYNAMICS}


def _clean(text: str) -> str:
    """Lone surrogates, which a table cannot hold, become '?'."""
    return text.encode("utf-8", "replace").decode()


def _write_table(run: RunFolder, name: str, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> int:
    count = 0

    def fill(file: IO[bytes]) -> None:
        nonlocal count
        with pq.ParquetWriter(file, schema, compression="zstd") as table:
            for group in _groups(rows):
                table.write_table(pa.Table.from_pylist(group, schema=schema))
                count += len(group)

    run.folder.write_with(name, fill)
    return count


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append(row)
        if len(group) == _ROWS_PER_GROUP:
            yield group
            group = []
    if group:
        yield group
