"""Which file holds the log of which process of a run: notes in the run folder, one per process that ever started.

logs/driver.log                    what the driver and the frameworks in it wrote (local run folders)
logs/processes/teacher-0.1.json    where the process of this name wrote its own, which lies on its node
"""

from __future__ import annotations

import json
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dsa_ray.storage.filesystem import Folder

NOTES = "logs/processes"
DRIVER, DRIVER_LOG = "driver", "logs/driver.log"


class UnknownProcess(Exception):
    """A run without a process of this name: one line that names those it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of a run. A restart is another one of the same name."""

    name: str
    started: float
    """Unix seconds."""
    host: str
    node: str
    """Ray's id of its node; empty for the driver."""
    pid: int
    files: tuple[str, ...]
    """Absolute paths on its host: what it wrote to its output, and to its error output."""


def note(run: str, process: Process) -> None:
    """Write down that a process of the run has started."""
    notes = Folder(f"{run}/{NOTES}")
    last = max((_number(name) for name in notes.names() if name.startswith(f"{process.name}.")), default=0)
    # After the note of its predecessor, also when the clock was set back, or that one ran on a machine ahead.
    number = max(time.time_ns(), last + 1)
    notes.write(f"{process.name}.{number}.json", json.dumps(asdict(process)).encode())


def processes(run: Folder) -> list[Process]:
    """All that were ever noted, the oldest first, and the driver, where its log lies in the folder."""
    notes = Folder(f"{run.url}/{NOTES}")
    names = sorted((name for name in notes.names() if name.endswith(".json")), key=_number)
    found = [_read(notes, name) for name in names]
    if run.local and run.exists(DRIVER_LOG):
        path = run.path(DRIVER_LOG)
        here = Process(name=DRIVER, started=0.0, host=socket.gethostname(), node="", pid=0, files=(path,))
        found.insert(0, here)
    return found


def listing(known: Sequence[Process]) -> list[str]:
    """One line per process: name, host, pid, when, and the files that are on this machine."""
    if not known:
        return ["no process has been noted yet"]
    lines = []
    for process in known:
        began = time.strftime("%H:%M:%S", time.localtime(process.started)) if process.started else "-"
        here = ", ".join(path for path in process.files if Path(path).is_file())
        lines.append(f"{process.name:<12} {began:<9} pid {process.pid:<8} {here or _elsewhere(process)}")
    return lines


def tail(known: Sequence[Process], name: str, lines: int) -> list[str]:
    """The last lines of the newest process of this name, each file under its own heading.

    Raises:
        UnknownProcess: the run has none of this name.
    """
    of_name = [process for process in known if process.name == name]
    if not of_name:
        names = ", ".join(sorted({process.name for process in known})) or "none yet"
        raise UnknownProcess(f"{name}: this run has no process of this name; known are {names}")
    newest, told = of_name[-1], []
    if len(of_name) > 1:
        told.append(f"(the last of {len(of_name)} processes of this name; pid {newest.pid} on {newest.host})")
    for path in newest.files:
        if Path(path).is_file():
            with open(path, encoding="utf-8", errors="replace") as file:
                told += [f"==> {path} <==", *(_printable(line) for line in deque(file, maxlen=lines))]
    return told if any(line.startswith("==>") for line in told) else [*told, _elsewhere(newest)]


def _number(name: str) -> int:
    """The number of a note, nanoseconds of Unix time or more; of the oldest where it is none."""
    number = name.removesuffix(".json").rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def _read(notes: Folder, name: str) -> Process:
    row = json.loads(notes.read(name))
    return Process(**{**row, "files": tuple(row["files"])})


def _elsewhere(process: Process) -> str:
    """How to get at a log of another machine."""
    if process.host == socket.gethostname():
        return f"its files are gone ({', '.join(process.files) or 'it had none'})"
    names = " ".join(Path(path).name for path in process.files)
    return f"on {process.host}: ray logs {names} --node-id {process.node}"


def _printable(line: str) -> str:
    """Without control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() or char == "\t" else " " for char in line.rstrip("\n"))
