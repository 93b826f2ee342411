"""A folder on a local disk or an object store, with whole files that are written durably or not at all.

Local: a temporary file, fsync, rename, fsync of the folder. Object stores: one put, which is atomic there.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

TEMPORARY = ".tmp"
"""Suffix of a file that is being written. Whoever finds one after a crash may delete it."""

_CHUNK = 8 * 2**20
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}


class Folder:
    """One folder, given as a local path or an fsspec URI. It need not exist before the first write."""

    def __init__(self, url: str) -> None:
        self._fs, root = url_to_fs(url)
        self._root: str = root.rstrip("/") or "/"
        self.local = isinstance(self._fs, LocalFileSystem)
        self.url: str = self._root if self.local else self._fs.unstrip_protocol(self._root)
        """Absolute path, or URI with its protocol: `Folder(folder.url)` is the same folder in any process."""

    def path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def names(self) -> list[str]:
        """Names of all entries directly in the folder, sorted; empty if the folder is missing."""
        self._fs.invalidate_cache(self._root)
        try:
            paths = self._fs.ls(self._root, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted({path.rstrip("/").rpartition("/")[2] for path in paths} - {""})

    def files(self) -> list[str]:
        """Names of all files in the folder and below it, sorted; empty if it is missing."""
        self._fs.invalidate_cache()
        found = self._fs.find(self._root)
        return sorted(name_within(path.removeprefix(self._root).lstrip("/")) for path in found)

    def exists(self, name: str) -> bool:
        if not self.local:
            self._fs.invalidate_cache(self._root)
        return bool(self._fs.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        """Raises `FileNotFoundError`."""
        return self._fs.cat_file(self.path(name))

    def write(self, name: str, data: bytes, *, exclusive: bool = False) -> None:
        """Write a whole file; it is durable when this returns.

        Raises:
            FileExistsError: with `exclusive`, when the name is taken; the file there is left as it is.
        """
        if not self.local:
            mode = "create" if exclusive else "overwrite"
            self._fs.pipe_file(self.path(name), data, mode=mode)
            return

        def fill(file: IO[bytes]) -> None:
            file.write(data)

        self._write_local(name, fill, exclusive=exclusive)

    def write_with(self, name: str, fill: Callable[[IO[bytes]], None]) -> None:
        """Like `write` for a file too large for memory: `fill` gets a binary file; if it raises nothing is left."""
        if self.local:
            self._write_local(name, fill, exclusive=False)
            return
        with tempfile.NamedTemporaryFile() as file:
            fill(file)
            file.flush()
            self._fs.put_file(file.name, self.path(name))

    def append_lines(self, name: str, lines: Iterable[bytes]) -> None:
        """Append to a local file; begins on a new line even if the last append was cut short."""
        path = self.path(name)
        with open(path, "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            else:
                torn = False
            file.write((b"\n" if torn else b"") + b"".join(line + b"\n" for line in lines))

    def put_tree(self, source: str, name: str) -> None:
        """Copy a local folder into the folder `name`, each file whole or not at all, in the order they were written."""
        files = (path for path in Path(source).rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path)):
            self.write_with(f"{name}/{path.relative_to(source).as_posix()}", partial(_copy_from, path))

    @contextmanager
    def draft(self, name: str) -> Iterator[str]:
        """A path to write the folder `name` at: its own, or, on an object store, one that is copied on leaving."""
        if self.local:
            yield self.path(name)
            return
        with tempfile.TemporaryDirectory(prefix="dsa-draft-") as path:
            yield path
            self.put_tree(path, name)

    def delete(self, name: str) -> None:
        self._fs.rm_file(self.path(name))

    def delete_tree(self, name: str) -> None:
        """Delete a folder and everything in it; one that is not there is fine."""
        if self.exists(name):
            self._fs.rm(self.path(name), recursive=True)

    def open(self, name: str) -> IO[bytes]:
        """A file for reading, for what is too large for memory. Raises `FileNotFoundError`."""
        return self._fs.open(self.path(name), "rb")

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file to a local path, whose folder is made. Raises `FileNotFoundError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.open(name) as source, path.open("wb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK)

    def size(self, name: str) -> int:
        """Bytes of a file. Raises `FileNotFoundError`."""
        if not self.local:
            self._fs.invalidate_cache(os.path.dirname(self.path(name)))
        return int(self._fs.size(self.path(name)))

    def rename(self, old: str, new: str) -> None:
        self._fs.mv(self.path(old), self.path(new))

    def make(self) -> None:
        self._fs.makedirs(self._root, exist_ok=True)

    def _write_local(self, name: str, fill: Callable[[IO[bytes]], None], *, exclusive: bool) -> None:
        final = self.path(name)
        folder = os.path.dirname(final)
        os.makedirs(folder, exist_ok=True)
        temporary = f"{final}.{os.getpid()}-{threading.get_ident()}{TEMPORARY}"
        try:
            with open(temporary, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, final, exclusive=exclusive)
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)
        _sync_folder(folder)


@contextmanager
def local_copy(url: str) -> Iterator[str]:
    """A folder as a path: its own, or, on an object store, that of a copy that is there as long as the context.

    Raises:
        FileNotFoundError: there is no file in the folder.
    """
    folder = Folder(url)
    if folder.local:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="dsa-copy-") as target:
        names = folder.files()
        if not names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)
        for name in names:
            folder.fetch(name, Path(target, name))
        yield target


def name_within(name: str) -> str:
    """The name of something in a folder, in its plain form.

    Raises:
        ValueError: it leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise ValueError(f"{name!r}: not a name inside the folder")
    return str(path)


def _copy_from(path: Path, target: IO[bytes]) -> None:
    with path.open("rb") as source:
        shutil.copyfileobj(source, target, _CHUNK)


def _publish(temporary: str, final: str, *, exclusive: bool) -> None:
    if not exclusive:
        os.replace(temporary, final)
        return
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
        os.replace(temporary, final)


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
