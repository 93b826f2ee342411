"""One run under one schedule: started as a user starts it, hurt from outside, resumed where that is how it goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from dsa_ray.exits import Exit
from dsa_ray.report.logs import processes
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.journal import iter_segments
from tests.chaos import teacher
from tests.chaos.nodes import GROUPS, RAYS_OWN, RUN_CPUS, Nodes
from tests.chaos.schedules import EXAM, MACHINE, START, STEPS, TRAINING, WHOLE, Fault, Schedule
from tests.engines.tiny_model import tiny_llama

ROOT = Path(__file__).parents[2]
DEADLINE_S = 420.0
"""Of one process of the run: it ends by then, or says why not; a violation otherwise."""
NAME = "chaos"
LOOK_S = 0.5
ENDED_S = 90.0
"""All processes have ended so long after the driver. Ray's agents see after 2 s that their raylet is gone
and, if it was killed before it could say so, try for 60 s to tell a control process that is gone too."""
FAILING_CALLS = {"error": 12, "dead": 1, "hang": 3}
DISK = "64m"
CALLS_DELAYED = "CoreWorkerService.grpc_server.PushTask=0:20000"
"""Microseconds, drawn for each call of an actor or task. Ray itself does not start with all its messages delayed."""
CALLS_LOST = {
    "CoreWorkerService.grpc_client.PushTask": {"num_failures": 3, "req_failure_prob": 1, "resp_failure_prob": 1}
}
"""So many at most by each process that calls, and percentages. Ray itself does not survive the loss of any message."""
MARKS = {
    "examiner": "_Examination",
    "generation_reader": "ReadOutboxes",
    "training_reader": "Readrows",
    "controller": "TrainController",
}
"""What the titles of Ray Data's and Ray Train's processes hold."""


@dataclass(slots=True)
class Played:
    """What came of a schedule."""

    folder: Path
    """Of the run."""
    outputs: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    """Of each process that carried the run, in order."""
    done: list[str] = field(default_factory=list)
    """Faults that found their target."""
    noted: dict[int, str] = field(default_factory=dict)
    """Items that were durable at some fault: id -> text."""
    faults: list[str] = field(default_factory=list)
    """What was wrong on the way."""


class Play:
    """Plays one schedule in a folder of its own."""

    def __init__(self, schedule: Schedule, folder: Path) -> None:
        self._schedule, self._folder = schedule, folder
        self._orders, self._clock = folder / "orders", folder / "clock"
        self._orders.mkdir(parents=True)
        self._clock.mkdir()
        self._config = folder / "config.yaml"
        self._played = Played(folder / "runs" / NAME)
        self._nodes: Nodes | None = None
        self._seen: dict[int, psutil.Process] = {}
        self._disk = any(fault.kind == "disk" for fault in schedule.faults) and _mount(self._played.folder)

    def play(self) -> Played:
        """Start, hurt, and resume at most once for each fault that ends a run."""
        waiting = list(self._schedule.faults)
        environment, config = self._environment(), _config(self._folder, self._schedule.seed)
        try:
            if any(fault.kind == "node" for fault in waiting):
                self._nodes = Nodes(environment)
                config["cluster"] = {"address": self._nodes.address, "groups": GROUPS, "cpus": RUN_CPUS}
            self._config.write_text(yaml.safe_dump(config))
            resumed = 0
            while True:
                code = self._one(waiting, environment, resume=resumed > 0)
                self._played.codes.append(code)
                if code == Exit.OK or resumed > len(self._schedule.faults) or not self._may_end(code):
                    break
                resumed += 1
        finally:
            if self._nodes is not None:
                self._nodes.close()
            if self._disk:
                self._keep_result()
        return self._played

    def _one(self, waiting: list[Fault], environment: dict[str, str], resume: bool) -> int:
        process = self._start(environment, resume)
        began, deadline = time.monotonic(), time.monotonic() + DEADLINE_S
        phases: dict[str, float] = {START: began}
        looked = 0.0
        try:
            while process.poll() is None:
                if time.monotonic() > looked + LOOK_S:
                    self._look(process.pid)
                    looked = time.monotonic()
                if time.monotonic() > deadline:
                    self._played.faults.append(f"not over after {DEADLINE_S:g} s: {self._status()}")
                    break
                if waiting and self._due(waiting[0], phases):
                    self._hurt(waiting.pop(0), process)
                time.sleep(0.1)
            return process.wait(timeout=60.0) if process.poll() is not None else -1
        finally:
            self._end(process)

    def _environment(self) -> dict[str, str]:
        """Of the driver and of all of Ray's processes."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), teacher.ORDERS: str(self._orders)}
        if any(fault.kind == "clock" for fault in self._schedule.faults):
            environment["PYTHONPATH"] = f"{ROOT / 'tests/chaos/clock'}{os.pathsep}{ROOT}"
            environment["DSA_CHAOS_CLOCK"] = str(self._clock)
        if self._schedule.delays:
            environment["RAY_testing_asio_delay_us"] = CALLS_DELAYED
        if self._schedule.drops:
            environment["RAY_testing_rpc_failure"] = json.dumps(CALLS_LOST)
            environment["RAY_testing_rpc_failure_avoid_intra_node_failures"] = "0"
        return environment

    def _start(self, environment: dict[str, str], resume: bool) -> subprocess.Popen[str]:
        self._output = open(self._folder / f"output-{len(self._played.codes)}.txt", "w+")  # noqa: SIM115 (held)
        again = ["--auto-resume"] if resume else []
        command = [sys.executable, "-m", "dsa_ray.cli", "run", str(self._config), *again]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _end(self, process: subprocess.Popen[str]) -> None:
        """What is left of the run is a violation, noted before it is ended."""
        if process.poll() is None:
            process.kill()
            process.wait()
        self._output.seek(0)
        self._played.outputs.append(self._output.read())
        self._output.close()
        until = time.monotonic() + ENDED_S
        while left := [each for each in self._seen.values() if _lives(each) and not self._stays(each)]:
            if time.monotonic() > until:
                break
            time.sleep(0.2)
        for each in left:
            self._played.faults.append(f"left behind: {_title(each)}")
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self._seen.clear()

    def _stays(self, process: psutil.Process) -> bool:
        return self._nodes is not None and _title(process).startswith(RAYS_OWN)

    def _look(self, root: int) -> None:
        """Remember every process of the run, also when its parent has ended since: those below its driver's, workers.

        On a cluster that the run has joined the workers are below Ray's processes, which go on after it.
        """
        workers = [] if self._nodes is None else self._nodes.workers()
        self._seen.update({process.pid: process for process in workers})
        others = {process.pid: process for process in psutil.process_iter(["ppid"]) if process.pid not in self._seen}
        mine = [root]
        while mine:
            found = [pid for pid, process in others.items() if process.info["ppid"] in (*mine, *self._seen)]
            mine = [pid for pid in found if pid not in self._seen]
            self._seen.update({pid: others.pop(pid) for pid in mine})

    def _due(self, fault: Fault, phases: dict[str, float]) -> bool:
        if fault.phase == START:
            return time.monotonic() - phases[START] >= fault.at
        status = self._status()
        if fault.phase == TRAINING:
            reached = status.get("step", 0) - status.get("textbook_steps", 0) if status.get("textbook_steps") else -1
            return reached >= fault.at * STEPS or status.get("phase") == EXAM
        if status.get("phase") == EXAM:
            phases.setdefault(EXAM, time.monotonic())
        return EXAM in phases and time.monotonic() - phases[EXAM] >= fault.at

    def _status(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return json.loads((self._played.folder / "status.json").read_text())
        return {}

    def _hurt(self, fault: Fault, process: subprocess.Popen[str]) -> None:
        self._note()
        match fault.kind:
            case "engine":
                teacher.order(self._orders, fault.target, FAILING_CALLS[fault.target])
            case "disk":
                if self._disk:
                    _fill(self._played.folder, fault.seconds)
                else:
                    return
            case "clock":
                if not self._set_clock(fault, process):
                    return
            case "torn":
                self._kill_all(process)
                _tear(self._played.folder / "journal")
            case "node":
                self._look(process.pid)
                self._nodes.lose(fault.target, fault.seconds)
            case _ if fault.target in WHOLE:
                process.kill() if fault.target == "driver" else self._kill_all(process)
            case _:
                if not self._signal(fault):
                    return
        self._played.done.append(str(fault))

    def _set_clock(self, fault: Fault, process: subprocess.Popen[str]) -> bool:
        """Set the clock of the machine, or of one process; an actor ends soon after, and its successor's is right."""
        found = psutil.Process(process.pid) if fault.target == "driver" else self._target(fault)
        if found is None and fault.target != MACHINE:
            return False
        name = "all" if fault.target == MACHINE else str(found.pid)
        draft = self._clock / "draft"
        draft.write_text(str(fault.shift))
        draft.rename(self._clock / name)
        if fault.seconds:
            time.sleep(fault.seconds)
            with contextlib.suppress(psutil.NoSuchProcess):
                found.kill()
        return True

    def _target(self, fault: Fault) -> psutil.Process | None:
        return next((each for each in self._seen.values() if _lives(each) and self._is(each, fault.target)), None)

    def _signal(self, fault: Fault) -> bool:
        """Kill the target, or stop it for a while. Whether it was there."""
        target = self._target(fault)
        if target is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            if fault.kind == "kill":
                target.kill()
                return True
            target.suspend()
            until = time.monotonic() + fault.seconds
            while time.monotonic() < until and _lives(target):
                time.sleep(0.1)
            target.resume()
        return True

    def _is(self, process: psutil.Process, name: str) -> bool:
        if name in MARKS:
            return MARKS[name] in _title(process)
        noted = [each for each in processes(Folder(str(self._played.folder))) if each.name == name]
        return bool(noted) and noted[-1].pid == process.pid

    def _kill_all(self, process: subprocess.Popen[str]) -> None:
        self._look(process.pid)
        for each in [psutil.Process(process.pid), *self._seen.values()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()

    def _may_end(self, code: int) -> bool:
        """Whether a fault of the schedule ends a run in this way: the whole was killed, or the disk was full."""
        killed = any(fault.target in WHOLE for fault in self._schedule.faults)
        full = "No space left" in self._played.outputs[-1] or "cannot be written" in self._played.outputs[-1]
        return (killed and code == -signal.SIGKILL) or (self._disk and full and code == Exit.FAILED)

    def _note(self) -> None:
        self._played.noted |= texts(self._played.folder)

    def _keep_result(self) -> None:
        """The run's folder, copied from the small disk, which is given back."""
        kept = self._played.folder.with_name("kept")
        subprocess.run(["cp", "-r", str(self._played.folder), str(kept)], check=True)
        subprocess.run(["umount", str(self._played.folder)], check=True)
        self._played.folder = kept


def texts(folder: Path) -> dict[int, str]:
    """Every durable item of a run: id -> text."""
    return {row["id"]: json.dumps(row["item"], sort_keys=True) for row in rows(folder, "written")}


def rows(folder: Path, stream: str) -> Iterator[dict[str, Any]]:
    journal = folder / "journal"
    if journal.is_dir():
        for _, segment in iter_segments(str(journal), stream):
            yield from segment


def _config(folder: Path, seed: int) -> dict[str, Any]:
    return {
        "run": {"name": NAME, "storage": str(folder / "runs"), "seed": seed},
        "graph": {"target": "Differential calculus", "max_skills": 9, "elementary": ["Addition", "Powers"]},
        "teacher": {"kind": "python", "factory": "tests.chaos.teacher:failing_writer"},
        "student": {"model": tiny_llama(folder / "student", spread=0.02), "max_model_len": 512},
        "generate": {"exercises_per_skill": 8, "in_flight": 16, "slots": 64, "attempts": 5, "request_timeout_s": 15.0},
        "train": {
            "ranks": 2,
            "precision": "fp32",
            "rows_per_step": 1,
            "slots": 4,
            "steps": STEPS,
            "learning_rate": 1e-3,
            "checkpoint_every": 30,
            "max_failures": 12,
        },
        "dynamics": {"burn_in_verdicts": 8, "window": 64, "cohort_steps": 8, "planted_min": 8},
        "evaluate": {"questions_per_skill": 1, "max_tokens": 16},
        "watch": {"hang_s": 8.0, "stall_s": 120.0},
    }


def _mount(folder: Path) -> bool:
    """A small disk for the run's folder, where this user may mount one."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        folder.rmdir()
    return not done.returncode


def _fill(folder: Path, seconds: float) -> None:
    """Leave no room on the folder's disk for a while."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    time.sleep(seconds)
    filler.unlink()


def _tear(journal: Path) -> None:
    """As a machine that lost power leaves it: half of a segment that nobody was told of, and a temporary file."""
    for stream in ("written", "events"):
        segments = sorted(journal.glob(f"{stream}-*.jsonl"))
        if segments:
            body = segments[-1].read_bytes()
            number = int(segments[-1].stem.rpartition("-")[2]) + 1
            (journal / f"{stream}-{number:08d}.jsonl").write_bytes(body[: len(body) // 2])


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())[:200]
    return ""
