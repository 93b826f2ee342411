"""A `dsa run` in a process of its own, watched through its own Ray, its journal and the notes of its processes.

All times are Unix seconds: of this machine's clock, which whoever writes journal and notes reads too.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import ray
from _paced_teacher import PACE
from ray.util.state import list_actors

from dsa_ray.actors.own_ray import on_loopback
from dsa_ray.config import Config
from dsa_ray.report.logs import Process, processes
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.journal import iter_segments

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EVERY_S = 0.1
GCS = "--gcs-address="
"""With which Ray tells its node manager the cluster's address."""
WAIT_S = 240.0
"""Whatever takes longer has failed, and so has the measurement."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of the curator."""

    at: float
    written: int
    incarnation: int
    """Process id of the curator that gave it."""


class WatchedRun:
    """One run folder, and at most one job that works in it.

    Args:
        made: the configuration.
        file: where it lies as YAML or JSON.
        pace: of the paced teacher.
    """

    def __init__(self, made: Config, file: Path, pace: dict[str, Any]) -> None:
        self._made, self._file, self._pace = made, file, pace
        self.path = Path(made.run.storage) / made.run.name
        self.samples: list[Sample] = []
        self._job: subprocess.Popen[bytes] | None = None
        self._sampler: threading.Thread | None = None
        self._over = threading.Event()

    def start(self, resume: bool = False) -> float:
        """Start the job and join its Ray; returns when it was started."""
        path = os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")])
        pace = json.dumps({**self._pace, "pause": str(self.path.with_name("pause"))})
        began = time.time()
        self._job = subprocess.Popen(
            [sys.executable, "-m", "dsa_ray.cli", "run", str(self._file), *(["--resume"] if resume else [])],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, PACE: pace, "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        address = self.wait_for("its Ray", self._address)
        with on_loopback():
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        curator = self.wait_for("the curator", self._curator)
        self._over.clear()
        self._sampler = threading.Thread(target=self._sample, args=(curator,), daemon=True)
        self._sampler.start()
        return began

    def kill(self) -> float:
        """SIGKILL for the job and for every process that it started; returns when."""
        assert self._job is not None
        root = psutil.Process(self._job.pid)
        tree = [root, *root.children(recursive=True)]
        began = time.time()
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._job.wait()
        self._over.set()
        if self._sampler is not None:
            self._sampler.join()
        ray.shutdown()
        return began

    def wait_for(self, what: str, look: Callable[[], T | None], limit_s: float = WAIT_S) -> T:
        """What `look` finds, as soon as it does.

        Raises:
            SystemExit: nothing in time, or the job has ended.
        """
        deadline = time.monotonic() + limit_s
        while (found := look()) is None:
            assert self._job is not None
            if self._job.poll() is not None:
                raise SystemExit(f"waiting for {what}: the run ended with exit code {self._job.returncode}")
            if time.monotonic() > deadline:
                raise SystemExit(f"waiting for {what}: nothing within {limit_s:g} s")
            time.sleep(EVERY_S)
        return found

    def newest(self, name: str) -> Process:
        """The process of this name that started last."""
        return [each for each in processes(Folder(str(self.path))) if each.name == name][-1]

    def replaced(self, killed: Process) -> Process | None:
        """The process that took the place of one."""
        newest = self.newest(killed.name)
        return newest if newest.pid != killed.pid else None

    def given_up(self, pid: int, name: str) -> float | None:
        """The time, once Ray no longer takes the actor of this name for alive in this process."""
        found = list_actors(
            address=ray.get_runtime_context().gcs_address,
            filters=[("name", "=", f"{self._made.run.name}/{name}")],
            detail=True,
        )
        return None if any(actor.state == "ALIVE" and actor.pid == pid for actor in found) else time.time()

    def rows(self, stream: str) -> Iterator[dict[str, Any]]:
        """What the journal holds by now."""
        journal = self.path / "journal"
        if journal.is_dir():
            for _, segment in iter_segments(str(journal), stream):
                yield from segment

    def items(self) -> dict[int, str]:
        """The text of every durable item, by id."""
        return {row["id"]: json.dumps(row["item"], sort_keys=True) for row in self.rows("written")}

    def first_step(self, since: float) -> tuple[float, int] | None:
        """When the first step of the attempt that began after `since` was observed, and after which step that began."""
        return first_step(self.rows("events"), since)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that are whole."""
        lines = (self.path / "metrics.jsonl").read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def status(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return json.loads((self.path / "status.json").read_text())
        return {}

    def _address(self) -> str | None:
        assert self._job is not None
        for process in psutil.Process(self._job.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == "raylet":
                    return next(word.partition("=")[2] for word in process.cmdline() if word.startswith(GCS))
        return None

    def _curator(self) -> Any:
        name = f"{self._made.run.name}/curator"
        for actor in ray.util.list_named_actors(all_namespaces=True):
            if actor["name"] == name:
                return ray.get_actor(name, namespace=actor["namespace"])
        return None

    def _sample(self, curator: Any) -> None:
        while not self._over.wait(EVERY_S):
            with contextlib.suppress(ray.exceptions.RayError):
                status = ray.get(curator.status.remote(), timeout=2.0)
                self.samples.append(Sample(time.time(), status["written"], status["incarnation"]))


def first_step(events: Iterator[dict[str, Any]], since: float) -> tuple[float, int] | None:
    """See `WatchedRun.first_step`."""
    after: int | None = None
    for event in events:
        if event["event"] == "attempt" and event["at"] > since:
            after = event["step"]
        elif event["event"] == "observe" and after is not None and event["step"] > after:
            return event["at"], after
    return None
