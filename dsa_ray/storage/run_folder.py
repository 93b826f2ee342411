"""A run's folder: the resolved configuration, the journal's place, small files, metrics.

    NAME/ config.json  journal/  checkpoints/  student/  metrics.jsonl  and what others write by name

A folder is a run once `config.json` is there; it is written last, so a creation that was cut short leaves no run.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Self

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.sections import MOST_ANSWER_S
from dsa_ray.storage.filesystem import TEMPORARY, Folder, name_within
from dsa_ray.storage.lock import FolderInUse, FolderLock
from dsa_ray.storage.resume import check_resume

CONFIG = "config.json"
METRICS = "metrics.jsonl"
_FORMAT = "journal/format.json"
_FORMAT_VERSION = 1
_LOCK = "lock"
_SKELETON = {_LOCK, "journal", "checkpoints", "student", "logs"}
_REMOTE_METRICS_INTERVAL_S = 10.0


class RunFolderError(ConfigError):
    """A folder that is no run, a broken one, or one that is in use: one clear line."""


def find_run(name: str, storage: str = "runs") -> str:
    """A folder or URI as given; a bare name that is no folder here is looked up in `storage`."""
    inside = Path(storage) / name
    return str(inside) if "://" not in name and not Path(name).exists() and inside.is_dir() else name


def storage_of(config: Config) -> str:
    """`run.storage` as an absolute path, or the URI that it is."""
    storage = config.run.storage
    return storage if "://" in storage else str(Path(storage).resolve())


class RunFolder:
    """One run's folder, local or any fsspec URI. Made by `create` (to run) or `open` (to read), not directly.

    Picklable: the copy is opened for reading, without the lock.
    """

    def __init__(self, folder: Folder, config: Config, lock: FolderLock | None = None, new: bool = False) -> None:
        self.config = config
        self._folder = folder
        self._lock = lock
        self._new = new
        self._unwritten: list[bytes] = []
        self._metrics_written = 0.0

    @classmethod
    def create(cls, storage: str, config: Config, *, resume: bool = False, allow_changes: bool = False) -> Self:
        """Make `storage`/`run.name`, or take up the one that is there, and lock it (local folders only).

        On resume the stored configuration takes over the keys that may change (`storage.resume`), or, with
        `allow_changes`, all of them. A folder in which
        nothing but the empty skeleton of a run was ever made counts as new.

        Raises:
            RunFolderError: it exists and `resume` is off, it is no run, it is broken, or a live run holds it.
            ConfigError: resumed with a key that may not change.
        """
        folder = Folder(f"{storage.rstrip('/')}/{config.run.name}")
        _refuse_foreign(folder)
        try:
            folder.make()
        except OSError as error:
            raise RunFolderError(f"{folder.url}: cannot be made ({error.strerror or error})") from None
        lock = _lock(folder)
        try:
            new = _prepare(folder, config, resume=resume, allow_changes=allow_changes)
        except BaseException:
            if lock:
                lock.release()
            raise
        return cls(folder, config, lock, new)

    @classmethod
    def open(cls, path: str) -> Self:
        """Open an existing run for reading.

        Raises:
            RunFolderError: the folder is missing, is no run, or is half-written; the line says what is wrong.
        """
        folder = Folder(path)
        return cls(folder, _stored_config(folder))

    @staticmethod
    def exists_in(storage: str, name: str) -> bool:
        """Whether there is a run of this name."""
        return Folder(f"{storage.rstrip('/')}/{name}").exists(CONFIG)

    @property
    def path(self) -> str:
        """Absolute path or URI."""
        return self._folder.url

    @property
    def id(self) -> str | None:
        """Tells this run's journal from any other's, wherever the folder is moved; None in folders of old."""
        return json.loads(self._folder.read(_FORMAT)).get("id")

    @property
    def journal(self) -> str:
        return f"{self.path}/journal"

    @property
    def checkpoints(self) -> str:
        return f"{self.path}/checkpoints"

    @property
    def student(self) -> str:
        return f"{self.path}/student"

    @property
    def driver_log(self) -> str | None:
        """Where the driver's output goes that is not for the terminal; none for a remote folder."""
        return None if "://" in self.path else f"{self.path}/logs/driver.log"

    @property
    def folder(self) -> Folder:
        """The file operations of this folder."""
        return self._folder

    def exists(self, name: str) -> bool:
        return self._folder.exists(name_within(name))

    def write_text(self, name: str, text: str) -> None:
        """Write a file whole, durably: readers see the old text or the new one. `name` is relative to the folder."""
        self._folder.write(name_within(name), text.encode())

    def read_text(self, name: str) -> str:
        """Raises `RunFolderError` if there is no such file."""
        try:
            return self._folder.read(name_within(name)).decode()
        except FileNotFoundError:
            raise RunFolderError(f"{self.path}: has no {name}") from None

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append lines to metrics.jsonl. NaN and infinity become null, so that every line is JSON.

        Object stores cannot append: there the file is rewritten at most every 10 s, and in `close`.
        """
        lines = [json.dumps(_finite(row), separators=(",", ":")).encode() for row in rows]
        if self._folder.local:
            self._folder.append_lines(METRICS, lines)
            return
        self._unwritten += lines
        if time.monotonic() - self._metrics_written >= _REMOTE_METRICS_INTERVAL_S:
            self._write_metrics()

    def read_metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl; one that was cut short by a crash is left out."""
        if not self.exists(METRICS):
            return []
        rows = []
        for line in self._folder.read(METRICS).splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def discard(self) -> None:
        """Take back a creation whose run never started: the folder is new again. A run that was resumed stays."""
        if self._new:
            for name in self._folder.names():
                if name.endswith(".json"):
                    self._folder.delete(name)

    def close(self) -> None:
        """Write what is left of the metrics and give the lock back; may be called more than once."""
        self._write_metrics()
        if self._lock:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return RunFolder.open, (self.path,)

    def _write_metrics(self) -> None:
        if self._unwritten:
            old = self._folder.read(METRICS) if self.exists(METRICS) else b""
            self._folder.write(METRICS, old + b"".join(line + b"\n" for line in self._unwritten))
            self._unwritten.clear()
            self._metrics_written = time.monotonic()


def _lock(folder: Folder) -> FolderLock | None:
    if not folder.local:
        return None
    try:
        return FolderLock(folder.path(_LOCK))
    except FolderInUse as error:
        raise RunFolderError(str(error)) from None
    except OSError as error:
        raise RunFolderError(f"{folder.url}: cannot be locked ({error.strerror or error})") from None


def _prepare(folder: Folder, config: Config, *, resume: bool, allow_changes: bool) -> bool:
    """Make or take up the run; whether it is new."""
    new = _is_new(folder)
    if new:
        for name in ("journal", "checkpoints", "student"):
            Folder(f"{folder.url}/{name}").make()
        folder.write(_FORMAT, json.dumps({"format": _FORMAT_VERSION, "id": uuid.uuid4().hex}).encode())
    elif resume:
        check_resume(_stored_config(folder), config, allow=allow_changes)
    else:
        raise RunFolderError(f"{folder.url}: this run exists already; use --resume, or another run.name")
    folder.write(CONFIG, json.dumps(config.model_dump(mode="json"), indent=1).encode())
    return new


def _refuse_foreign(folder: Folder) -> None:
    if not folder.exists(CONFIG) and not _is_new(folder):
        raise RunFolderError(f"{folder.url}: exists and is not a run (no {CONFIG}); use another run.name")


def _is_new(folder: Folder) -> bool:
    """Nothing there but what a creation that was cut short leaves."""
    if {name for name in folder.names() if not name.endswith(TEMPORARY)} - _SKELETON:
        return False
    inside = {
        entry for part in ("journal", "checkpoints", "student") for entry in Folder(f"{folder.url}/{part}").names()
    }
    return inside <= {PurePosixPath(_FORMAT).name}


def _stored_config(folder: Folder) -> Config:
    """The configuration of a whole run folder. Raises `RunFolderError` that says what is missing or broken."""
    names = folder.names()
    if not names:
        raise RunFolderError(f"{folder.url}: there is no run here")
    if CONFIG not in names:
        raise RunFolderError(f"{folder.url}: not a run, or its creation was cut short (no {CONFIG})")
    try:
        config = parse(_within_bounds(json.loads(folder.read(CONFIG))))
    except (ValueError, ConfigError) as error:
        raise RunFolderError(f"{folder.path(CONFIG)}: broken ({error})") from None
    try:
        written_as = json.loads(folder.read(_FORMAT))["format"]
    except FileNotFoundError:
        raise RunFolderError(f"{folder.url}: half a run (no {_FORMAT}); its journal is missing") from None
    except (ValueError, KeyError, TypeError):
        raise RunFolderError(
            f'{folder.path(_FORMAT)}: broken; it should read {{"format": {_FORMAT_VERSION}}}'
        ) from None
    if written_as != _FORMAT_VERSION:
        raise RunFolderError(f"{folder.url}: written in format {written_as}; this version reads {_FORMAT_VERSION}")
    return config


def _within_bounds(stored: Any) -> Any:
    """What an earlier version stored, with a value that was its default and is out of bounds now at the bound."""
    evaluate = stored.get("evaluate") if isinstance(stored, dict) else None
    most_s = evaluate.get("answer_timeout_s") if isinstance(evaluate, dict) else None
    if not isinstance(most_s, float) or most_s <= MOST_ANSWER_S:
        return stored
    return {**stored, "evaluate": {**evaluate, "answer_timeout_s": MOST_ANSWER_S}}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
