"""The checkpoints of a run: folders that are written in parts, and count only once every part is whole.

    checkpoints/ step-00000400/ part-0.json  rank 0's files with size and CRC-32, written last
                                part-1.json  rank 1's
                                shards/ ...  ZeRO shards          curator.npz  the curator's state
                                student/     Hugging Face format
                 latest   name of the newest complete one, moved when all parts are there
                 best     name of the one with the lowest loss

A checkpoint that was cut short (a kill, a full disk) is never `latest` and is deleted when training starts again.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from dsa_ray.storage.filesystem import Folder, name_within

LATEST = "latest"
BEST = "best"
STUDENT = "student"
"""Folder of the exported student, in a checkpoint and in a run."""
META = "meta.json"
"""What rank 0 says of the checkpoint: step, loss, ranks, versions."""
_NAME = re.compile(r"^step-\d{8,}$")
_PART = re.compile(r"^part-(\d+)\.json$")
_CHUNK = 8 * 2**20


class CheckpointError(Exception):
    """A checkpoint that cannot be written or used: one line with what, where and what to do."""


class CheckpointStore:
    """The folder `checkpoints/` of a run, local or any fsspec URI."""

    def __init__(self, url: str) -> None:
        self._folder = Folder(url)

    @property
    def url(self) -> str:
        return self._folder.url

    def write_part(self, name: str, rank: int, staged: str, write: Callable[..., None] | None = None) -> int:
        """Copy what a rank staged into the checkpoint `name`; its list of files comes last. Returns the bytes.

        Args:
            staged: local folder of this rank.
            write: stands in for `Folder.write_with` (tests of a failing storage).

        Raises:
            CheckpointError: it could not be written; what had been written of this part is deleted.
        """
        put = write or self._folder.write_with
        files: dict[str, dict[str, int]] = {}
        try:
            for path in sorted(p for p in Path(staged).rglob("*") if p.is_file()):
                relative = path.relative_to(staged).as_posix()
                source = _Summed(path)
                put(f"{name}/{relative}", source.copy_to)
                files[relative] = {"size": source.size, "crc32": source.crc32}
            self._folder.write(f"{name}/part-{rank}.json", json.dumps({"rank": rank, "files": files}).encode())
        except OSError as error:
            self._clear(name, [*files])
            last = self.latest()
            kept = f"{last} stays the latest" if last else "there is no earlier one"
            room = "; free some space, then go on with --resume" if error.errno == errno.ENOSPC else ""
            raise CheckpointError(
                f"checkpoint {name} could not be written to {self.url} ({error.strerror or error}); {kept}{room}"
            ) from None
        return sum(file["size"] for file in files.values())

    def commit(self, name: str, ranks: int) -> None:
        """Every rank has written its part: `latest` is this one from now on.

        Raises:
            CheckpointError: a part or a file is not there, or the pointer cannot be written.
        """
        fault = self._fault(name, ranks)
        if fault:
            raise CheckpointError(f"checkpoint {name} in {self.url} is not complete: {fault}")
        try:
            self._folder.write(LATEST, name.encode())
            self._mark_best(name)
        except OSError as error:
            raise CheckpointError(
                f"{self.url}/{LATEST} could not be moved to {name} ({error.strerror or error})"
            ) from None

    def latest(self) -> str | None:
        """Name of the newest complete checkpoint; None when there is none."""
        return self._pointer(LATEST)

    def best(self) -> str | None:
        """Name of the checkpoint with the lowest loss among those of the last phase; None when there is none."""
        return self._pointer(BEST)

    def names(self) -> list[str]:
        """All checkpoint folders, whole or not, oldest first."""
        return sorted((name for name in self._folder.names() if _NAME.match(name)), key=_step)

    def meta(self, name: str) -> dict[str, Any]:
        """What rank 0 wrote about it. Raises `CheckpointError` when it is no checkpoint of ours."""
        try:
            meta = json.loads(self._folder.read(f"{name}/{META}"))
        except (FileNotFoundError, ValueError):
            meta = None
        if not isinstance(meta, dict) or not isinstance(meta.get("ranks"), int):
            raise CheckpointError(self._useless(name, f"its {META} is missing or broken"))
        return meta

    def prune(self, keep: int, *, keep_best: bool) -> list[str]:
        """Delete all but the last `keep` complete ones, the latest and, if wanted, the best; returns what went."""
        latest = self.latest()
        if latest is None:
            return []
        done = [name for name in self.names() if _step(name) <= _step(latest)]
        kept = {*done[-keep:], latest, *([self.best()] if keep_best else [])}
        gone = [name for name in done if name not in kept]
        for name in gone:
            self._folder.delete_tree(name)
        return gone

    def discard_unfinished(self) -> list[str]:
        """Delete what is newer than `latest`: it was cut short. To be called while nobody writes."""
        latest = self.latest()
        gone = [name for name in self.names() if latest is None or _step(name) > _step(latest)]
        for name in gone:
            self._folder.delete_tree(name)
        return gone

    def verify(self, name: str, rank: int | None = None) -> None:
        """Read the checkpoint's files and compare sizes and checksums; `rank` limits the checksums to its part.

        Raises:
            CheckpointError: names the first file that is missing or damaged.
        """
        fault = self._fault(name, self.meta(name)["ranks"])
        for part, files in self.parts(name).items() if not fault else ():
            for file, facts in files.items() if rank in (None, part) else ():
                if self._crc32(f"{name}/{file}") != facts["crc32"]:
                    fault = fault or f"{file} is damaged"
        if fault:
            raise CheckpointError(self._useless(name, fault))

    def read(self, name: str, file: str) -> bytes:
        """One small file of a checkpoint. Raises `CheckpointError` when it is not there."""
        try:
            return self._folder.read(f"{name}/{file}")
        except FileNotFoundError:
            raise CheckpointError(self._useless(name, f"{file} is missing")) from None

    def fetch(self, name: str, target: str, below: str = "") -> str:
        """The checkpoint as a local folder: where it lies, or a copy in `target` when it lies elsewhere.

        Args:
            below: only files whose path begins so.
        """
        if self._folder.local:
            return self._folder.path(name)
        for files in self.parts(name).values():
            for file in files:
                if file.startswith(below):
                    self._folder.fetch(f"{name}/{file}", Path(target, file))
        return target

    def _pointer(self, which: str) -> str | None:
        try:
            name = self._folder.read(which).decode(errors="replace").strip()
        except FileNotFoundError:
            return None
        if not _NAME.match(name):
            raise CheckpointError(f"{self.url}/{which}: names no checkpoint; delete it to begin from the base student")
        return name if self._folder.exists(name) else self._missing(which, name)

    def _missing(self, which: str, name: str) -> None:
        if which == LATEST:
            raise CheckpointError(
                f"{self.url}/{LATEST} names {name}, which is not there; write the name of one that is into it, "
                "or delete it to begin from the base student"
            )

    def _mark_best(self, name: str) -> None:
        best = self.best()
        if best is not None:
            now, before = self.meta(name), self.meta(best)
            if now.get("phase") == before.get("phase") and not _loss(now) <= _loss(before):
                return
        self._folder.write(BEST, name.encode())

    def parts(self, name: str) -> dict[int, Mapping[str, Mapping[str, int]]]:
        """Rank to its files; broken lists count as missing, and so do those that name files elsewhere."""
        parts = {}
        for entry in Folder(f"{self.url}/{name}").names():
            if match := _PART.match(entry):
                try:
                    files = json.loads(self._folder.read(f"{name}/{entry}"))["files"]
                    parts[int(match[1])] = {name_within(file): facts for file, facts in files.items()}
                except (AttributeError, ValueError, KeyError, TypeError):
                    continue
        return parts

    def _fault(self, name: str, ranks: int) -> str:
        """What is missing in the checkpoint, or nothing."""
        parts = self.parts(name)
        if lacking := sorted(set(range(ranks)) - set(parts)):
            return f"the parts of ranks {lacking} are missing"
        for files in parts.values():
            for file, facts in files.items():
                try:
                    size = self._folder.size(f"{name}/{file}")
                except FileNotFoundError:
                    return f"{file} is missing"
                if size != facts["size"]:
                    return f"{file} has {size} bytes, not {facts['size']}"
        return ""

    def _crc32(self, path: str) -> int:
        crc = 0
        with self._folder.open(path) as file:
            while chunk := file.read(_CHUNK):
                crc = zlib.crc32(chunk, crc)
        return crc

    def _clear(self, name: str, files: list[str]) -> None:
        """Give back the room of a part that failed; the checkpoint is lost as a whole, but other ranks still write."""
        for file in files:
            if self._folder.exists(f"{name}/{file}"):
                self._folder.delete(f"{name}/{file}")

    def _useless(self, name: str, fault: str) -> str:
        others = [other for other in self.names() if other != name]
        way = f"write {others[-1]} into {self.url}/{LATEST}" if others else f"delete {self.url}/{LATEST}"
        where = "go on from that one" if others else "begin from the base student"
        return f"checkpoint {name} in {self.url} cannot be used: {fault}; {way} to {where}"


class _Summed:
    """A local file that is measured while it is copied."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = self.crc32 = 0

    def copy_to(self, target: IO[bytes]) -> None:
        self.size = self.crc32 = 0
        with self._path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                self.size += len(chunk)
                self.crc32 = zlib.crc32(chunk, self.crc32)


def adopt_student(run: str) -> str | None:
    """Copy the student of the latest checkpoint to a run's `student/`, where training did not come to exporting it.

    Returns:
        The checkpoint's name; None when there was nothing to do.

    Raises:
        CheckpointError: `latest` names no checkpoint.
    """
    folder, store = Folder(run), CheckpointStore(f"{run}/checkpoints")
    name = store.latest()
    if name is None or Folder(f"{run}/{STUDENT}").names():
        return None
    below = f"{STUDENT}/"
    for file in (file for files in store.parts(name).values() for file in files if file.startswith(below)):
        with folder.open(f"checkpoints/{name}/{file}") as source:
            folder.write_with(file, partial(shutil.copyfileobj, source))
    return name


def step_name(step: int) -> str:
    """Name of the checkpoint at the end of a step."""
    return f"step-{step:08d}"


def _step(name: str) -> int:
    return int(name.removeprefix("step-"))


def _loss(meta: Mapping[str, Any]) -> float:
    loss = meta.get("loss")
    return float(loss) if loss is not None else float("inf")
