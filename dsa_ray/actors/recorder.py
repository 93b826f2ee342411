"""Makes what passed the checks durable, then tells the curator, in this order and in groups.

A group is committed when it has `size` rows or its first row has waited `wait_s`: one segment of the `written`
journal, then `accept` with numbers only, then `reject`. What is delivered twice is written once.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from dsa_ray.storage.texts import numbers
from dsa_ray.streams.batches import Examined, Outcome


class Journal(Protocol):
    def write(self, rows: Sequence[Mapping[str, Any]]) -> int: ...


class Recorder:
    """Group commit. `run` may be called again and again, one at a time; `take` beside it, by any thread."""

    def __init__(
        self,
        journal: Journal,
        accept: Callable[[int, list[dict[str, Any]]], None],
        reject: Callable[[list[dict[str, Any]]], None],
        confirm: Callable[[Sequence[Examined]], None],
        *,
        size: int = 64,
        wait_s: float = 0.3,
    ) -> None:
        """
        Args:
            journal: writer of the `written` stream; durable when it returns.
            accept: tells (segment, accepted rows); returns when the curator has them.
            reject: tells rejections.
            confirm: told of batches whose outcomes are durable and known to the curator.
            size: rows that are committed together at once.
            wait_s: no row waits longer for company.
        """
        self._journal, self._accept, self._reject, self._confirm = journal, accept, reject, confirm
        self._size, self._wait_s = size, wait_s
        self._committing = threading.Lock()
        self._done = _Ids()
        self._hashes = array("q")
        self._counts = {"written": 0, "rejected": 0, "repeated": 0, "segments": 0}

    def remember(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows of the journal that an earlier process wrote."""
        for row in rows:
            self._done.add(row["id"])
            self._hashes.append(row["content_hash"])

    def run(self, batches: Iterable[Examined]) -> None:
        """Commit everything that the source gives; returns at its end, raises what it raises."""
        for group in _groups(batches, self._size, self._wait_s):
            with self._committing:
                self._commit([outcome for batch in group for outcome in batch.outcomes])
            self._confirm(group)

    def take(self, rows: Sequence[str]) -> None:
        """Commit written rows (JSON) that came by another way than the stream. One that is there is left as it is."""
        with self._committing:
            self._commit([(True, row) for row in rows])

    def take_hashes(self) -> array[int]:
        """Content hashes of what was written or remembered since the last call."""
        with self._committing:
            taken, self._hashes = self._hashes, array("q")
        return taken

    def stats(self) -> dict[str, int]:
        """Rows written, rejected and dropped as repeated, and segments, by this process."""
        return dict(self._counts)

    def _commit(self, outcomes: list[Outcome]) -> None:
        rows, rejections = [], []
        for passed, text in outcomes:
            row = json.loads(text)
            if row["id"] in self._done:
                self._counts["repeated"] += 1
            elif passed:
                self._done.add(row["id"])
                rows.append(row)
            else:
                rejections.append(row)
        if rows:
            segment = self._journal.write(rows)
            self._hashes.extend(row["content_hash"] for row in rows)
            self._accept(segment, [numbers(row, place) for place, row in enumerate(rows)])
        if rejections:
            self._reject(rejections)
        self._counts["written"] += len(rows)
        self._counts["rejected"] += len(rejections)
        self._counts["segments"] += bool(rows)


class _Ids:
    """A set of ids, which are minted one after another: a byte each."""

    def __init__(self) -> None:
        self._there = bytearray()

    def __contains__(self, id: int) -> bool:
        return id < len(self._there) and bool(self._there[id])

    def add(self, id: int) -> None:
        if id >= len(self._there):
            self._there.extend(bytes(id + 1 - len(self._there)))
        self._there[id] = 1


class _End:
    """The last thing in the queue: the source has ended, perhaps with an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def _groups(batches: Iterable[Examined], size: int, wait_s: float) -> Iterator[list[Examined]]:
    """Cut a source that blocks into groups by size or time. What came before an error is still given."""
    line: queue.Queue[Examined | _End] = queue.Queue(maxsize=64)
    over = threading.Event()
    threading.Thread(target=_feed, args=(batches, line, over), name="recorder-source", daemon=True).start()
    try:
        end: _End | None = None
        while end is None:
            item: Examined | _End | None = line.get()
            group, rows, deadline = [], 0, time.monotonic() + wait_s
            while item is not None:
                if isinstance(item, _End):
                    end = item
                    break
                group.append(item)
                rows += len(item.outcomes)
                item = _next(line, deadline) if rows < size else None
            if group:
                yield group
        if end.error is not None:
            raise end.error
    finally:
        over.set()


def _feed(batches: Iterable[Examined], line: queue.Queue[Examined | _End], over: threading.Event) -> None:
    end = _End()
    try:
        for batch in batches:
            if not _put(line, batch, over):
                return
    except BaseException as error:
        end = _End(error)
    _put(line, end, over)


def _put(line: queue.Queue[Examined | _End], item: Examined | _End, over: threading.Event) -> bool:
    while not over.is_set():
        try:
            line.put(item, timeout=1.0)
            return True
        except queue.Full:
            continue
    return False


def _next(line: queue.Queue[Examined | _End], deadline: float) -> Examined | _End | None:
    try:
        return line.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        return None
