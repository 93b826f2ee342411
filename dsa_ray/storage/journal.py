"""The journal: numbered, checksummed, immutable segments of JSON lines.

A stream `written` in a folder is the files `written-00000000.jsonl`, `written-00000001.jsonl`, ... Each holds one
row per line and, as its last line, a footer with its stream, number, row count and the CRC-32 of everything before
the footer. A segment is durable when `SegmentWriter.write` returns; one writer per stream is assumed, and a second
one is found out when it takes a number that is taken. Object stores cannot append, hence segments.
"""

from __future__ import annotations

import json
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dsa_ray.storage.filesystem import TEMPORARY, Folder

TORN = ".torn"
"""Suffix that a torn last segment gets when a writer takes its number again."""

_STREAM = re.compile(r"[a-z][a-z0-9_]*")


class JournalError(Exception):
    """A segment that is missing, torn or corrupt where it may not be: one line that names the file."""


class SegmentWriter:
    """Writes the segments of one stream, numbered on from those that are there.

    A last segment that is torn (the writer died on a store without atomic writes) was never acknowledged: it is put
    aside as `*.torn` with a warning, and its number is used again. Leftover temporary files are deleted.

    Args:
        folder: local path or fsspec URI; made on the first write.
        stream: lower-case letters, digits and '_'.
    """

    def __init__(self, folder: str, stream: str) -> None:
        self._folder = Folder(folder)
        self._stream = _checked(stream)
        self._clear_temporary_files()
        numbers = _numbers(self._folder, stream)
        _check_contiguous(self._folder, stream, numbers, start=0)
        self._next = len(numbers)
        if numbers and self._set_aside_if_torn(numbers[-1]):
            self._next = numbers[-1]

    @property
    def next_number(self) -> int:
        """Number of the segment that the next `write` makes."""
        return self._next

    def write(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write one segment; returns its number. The rows are durable when this returns.

        Rows are JSON objects with string keys; tuples come back as lists.

        Raises:
            JournalError: another writer has taken this number.
            ValueError: no rows, or a row that is not JSON (NaN and infinity are not).
        """
        if not rows:
            raise ValueError(f"journal stream {self._stream}: a segment needs at least one row")
        number = self._next
        name = segment_name(self._stream, number)
        body = b"".join(_encode(row) for row in rows)
        try:
            self._folder.write(name, body + _footer(self._stream, number, len(rows), body), exclusive=True)
        except FileExistsError:
            raise JournalError(
                f"{self._folder.path(name)}: written by somebody else meanwhile; only one writer per stream is allowed"
            ) from None
        self._next = number + 1
        return number

    def _clear_temporary_files(self) -> None:
        for name in self._folder.names():
            if name.startswith(f"{self._stream}-") and name.endswith(TEMPORARY):
                self._folder.delete(name)

    def _set_aside_if_torn(self, number: int) -> bool:
        try:
            read_segment(self._folder.url, self._stream, number)
        except JournalError as error:
            name = segment_name(self._stream, number)
            warnings.warn(f"{error}; put aside as {name}{TORN}", stacklevel=3)
            self._folder.rename(name, name + TORN)
            return True
        return False


def segment_name(stream: str, number: int) -> str:
    """File name of a segment."""
    return f"{stream}-{number:08d}.jsonl"


def read_segment(folder: str, stream: str, number: int) -> list[dict[str, Any]]:
    """The rows of one segment.

    Raises:
        JournalError: the segment is missing, torn or corrupt.
    """
    return [json.loads(line) for line in read_lines(Folder(folder), stream, number)]


def read_lines(folder: Folder, stream: str, number: int) -> list[str]:
    """The rows of one segment, verified but not parsed: one JSON text per row. Raises `JournalError`."""
    name = segment_name(_checked(stream), number)
    try:
        data = folder.read(name)
    except FileNotFoundError:
        raise JournalError(f"{folder.path(name)}: this segment is missing") from None
    body, newline, footer = data[:-1].rpartition(b"\n")
    body += newline
    rows = body.count(b"\n")
    if footer + data[-1:] != _footer(stream, number, rows, body):
        raise JournalError(f"{folder.path(name)}: this segment is torn or corrupt (its footer does not match)")
    return body.decode("utf-8", "surrogatepass").split("\n")[:-1]


def iter_segments(folder: str, stream: str, start: int = 0) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The segments in order from number `start`, as (number, rows).

    A torn last segment was never acknowledged: it is skipped with a warning, as leftover temporary files are.

    Raises:
        JournalError: a segment that is not the last one is missing, torn or corrupt.
    """
    place = Folder(folder)
    numbers = [number for number in _numbers(place, _checked(stream)) if number >= start]
    _check_contiguous(place, stream, numbers, start)
    for number in numbers:
        try:
            rows = read_segment(folder, stream, number)
        except JournalError as error:
            if number != numbers[-1]:
                raise
            warnings.warn(f"{error}; it is the last one and was never acknowledged: skipped", stacklevel=2)
            return
        yield number, rows


def _checked(stream: str) -> str:
    if not _STREAM.fullmatch(stream):
        raise ValueError(f"journal stream {stream!r}: use lower-case letters, digits and '_'")
    return stream


def _numbers(folder: Folder, stream: str) -> list[int]:
    pattern = re.compile(rf"{stream}-(\d{{8,}})\.jsonl")
    return sorted(int(match[1]) for name in folder.names() if (match := pattern.fullmatch(name)))


def _check_contiguous(folder: Folder, stream: str, numbers: Sequence[int], start: int) -> None:
    for expected, number in enumerate(numbers, start):
        if number != expected:
            raise JournalError(
                f"{folder.path(segment_name(stream, expected))}: this segment is missing, later ones exist"
            )


def _encode(row: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(dict(row), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"journal row is not JSON: {error}") from None
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _footer(stream: str, number: int, rows: int, body: bytes) -> bytes:
    return _encode({"stream": stream, "segment": number, "rows": rows, "crc32": zlib.crc32(body)})
