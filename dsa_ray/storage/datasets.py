"""A run's texts as a dataset for others: Parquet, JSONL, and the forms that TRL, Alpaca and ShareGPT tools read.

    parquet, jsonl    every column, exercises and textbooks
    trl               `prompt` and `completion` messages, loss on the completion; textbooks as `text`
    alpaca, sharegpt  exercises alone, one JSON array

Left out, unless all are asked for: exercises that a review dropped, and those whose last verdict is erroneous. An
exercise whose answer was outvoted is given with the answer that won.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dsa_ray.records import Exercise, Kind, Textbook, VerdictClass, Written
from dsa_ray.storage.card import card
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.quarantine import standing_verdicts
from dsa_ray.storage.reviews import items, reviewed
from dsa_ray.storage.run_folder import RunFolder

CARD = "README.md"
_GROUP = 4096
_MESSAGE = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_COLUMNS: dict[str, pa.DataType] = {
    "id": pa.int64(),
    "kind": pa.string(),
    "skills": pa.list_(pa.string()),
    "difficulty": pa.int32(),
    "parents": pa.list_(pa.int64()),
    "messages": _MESSAGE,
    "question": pa.string(),
    "solution": pa.string(),
    "answer": pa.string(),
    "text": pa.string(),
    "verdict": pa.string(),
    "generator": pa.string(),
    "generator_version": pa.string(),
    "prompt_version": pa.string(),
    "checks": pa.list_(pa.string()),
}
Row = dict[str, Any]


class PushError(Exception):
    """An upload that did not come about."""


def rows(run: RunFolder, everything: bool = False) -> Iterator[Row]:
    """The texts of a run in the order written, one row each; what was written twice comes once.

    Args:
        everything: also what reviews dropped and what verdicts found erroneous.
    """
    verdicts = _verdicts(run)
    for item in reviewed(run.journal, everything):
        verdict = verdicts.get(item.request.id)
        if isinstance(item.item, Exercise | Textbook) and (everything or verdict != VerdictClass.ERRONEOUS):
            yield _row(item, verdict)


def export(run: RunFolder, format: str, out: str, everything: bool = False) -> dict[str, int]:
    """Write a run as a dataset into a folder, with a card; returns the rows of each file.

    Args:
        format: a key of `FORMATS`.
        out: folder or URI; files of the same names are replaced.
        everything: see `rows`.
    """
    folder = Folder(out)
    folder.make()
    counts = {}
    for name, textbooks, write in FORMATS[format]:
        chosen = (row for row in rows(run, everything) if (row["kind"] == Kind.TEXTBOOK) is textbooks)
        counts[name] = _written_rows(folder, name, chosen, write)
    text = card(run.config, counts, _generators(run), format)
    folder.write(CARD, text.encode("utf-8", "replace"))
    return counts


def push(out: str, name: str) -> str:
    """Upload an exported folder to the Hugging Face hub as a private dataset; returns its address.

    Raises:
        PushError: the hub cannot be reached, or refuses; in one line, with its own words.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
        api.upload_folder(repo_id=name, repo_type="dataset", folder_path=out)
    except Exception as error:  # the hub's client, and the HTTP client below it, have no base class of their errors
        raise PushError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    return str(address)


Write = Callable[[IO[bytes], Iterable[Row]], int]


def _parquet(file: IO[bytes], found: Iterable[Row]) -> int:
    schema = pa.schema(list(_COLUMNS.items()))
    count, source = 0, iter(found)
    with pq.ParquetWriter(file, schema, compression="zstd") as table:
        while group := list(islice(source, _GROUP)):
            table.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count


def _lines(shape: Callable[[Row], Row]) -> Write:
    def write(file: IO[bytes], found: Iterable[Row]) -> int:
        count = 0
        for row in found:
            file.write(_json(shape(row)) + b"\n")
            count += 1
        return count

    return write


def _array(shape: Callable[[Row], Row]) -> Write:
    def write(file: IO[bytes], found: Iterable[Row]) -> int:
        count = 0
        file.write(b"[")
        for count, row in enumerate(found, start=1):
            file.write((b",\n" if count > 1 else b"\n") + _json(shape(row)))
        file.write(b"\n]\n")
        return count

    return write


def _whole(row: Row) -> Row:
    return row


def _trl(row: Row) -> Row:
    return {"prompt": row["messages"][:1], "completion": row["messages"][1:]}


def _alpaca(row: Row) -> Row:
    question, answer = (message["content"] for message in row["messages"])
    return {"instruction": question, "input": "", "output": answer}


def _sharegpt(row: Row) -> Row:
    names = {"user": "human", "assistant": "gpt"}
    return {
        "conversations": [{"from": names[turn["role"]], "value": turn["content"]} for turn in row["messages"]],
        "id": str(row["id"]),
    }


FORMATS: Mapping[str, tuple[tuple[str, bool, Write], ...]] = {
    "parquet": (("exercises.parquet", False, _parquet), ("textbooks.parquet", True, _parquet)),
    "jsonl": (("exercises.jsonl", False, _lines(_whole)), ("textbooks.jsonl", True, _lines(_whole))),
    "trl": (
        ("exercises.jsonl", False, _lines(_trl)),
        ("textbooks.jsonl", True, _lines(lambda row: {"text": row["text"]})),
    ),
    "alpaca": (("exercises.json", False, _array(_alpaca)),),
    "sharegpt": (("exercises.json", False, _array(_sharegpt)),),
}
"""For each format its files: name, whether of textbooks, and how it is written."""


def _written_rows(folder: Folder, name: str, found: Iterable[Row], write: Write) -> int:
    count = 0

    def fill(file: IO[bytes]) -> None:
        nonlocal count
        count = write(file, found)

    folder.write_with(name, fill)
    return count


def _verdicts(run: RunFolder) -> dict[int, str]:
    """The last verdict of each exercise, none of one that was taken back since."""
    return {event["exercise"]: event["verdict"] for event in standing_verdicts(run.journal, taken_back=False)}


def _generators(run: RunFolder) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in items(run.journal):
        name = f"{item.generator} ({item.prompt_version})"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _row(written: Written, verdict: str | None) -> Row:
    request, item = written.request, written.item
    content: Row = dict.fromkeys(("question", "solution", "answer", "text"))
    if isinstance(item, Textbook):
        content["text"] = _clean(item.text)
        messages = [{"role": "assistant", "content": content["text"]}]
    else:
        assert isinstance(item, Exercise)
        content |= {name: _clean(getattr(item, name)) for name in ("question", "solution", "answer")}
        reply = f"{content['solution']}\nAnswer: {content['answer']}"
        messages = [{"role": "user", "content": content["question"]}, {"role": "assistant", "content": reply}]
    return {
        "id": request.id,
        "kind": request.kind.value,
        "skills": list(request.skills),
        "difficulty": request.difficulty,
        "parents": list(request.parents),
        "messages": messages,
        **content,
        "verdict": verdict,
        "generator": _clean(written.generator),
        "generator_version": written.generator_version,
        "prompt_version": written.prompt_version,
        "checks": [name for name, _ in written.checks],
    }


def _clean(text: str) -> str:
    """Lone surrogates, which no file can hold, become '?'."""
    return text.encode("utf-8", "replace").decode()


def _json(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8")
