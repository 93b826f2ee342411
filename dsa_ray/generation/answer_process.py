"""Owns the process of `generation.answer_worker`: starts it late, gives it a deadline per pair, replaces it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
import weakref
from pathlib import Path

_START_S = 120.0
"""Deadline for the worker to import its libraries."""
_GRACE_S = 1.0
_LIVES = 2
"""Processes that may die on one pair: one that was killed from outside must not make an answer wrong."""

_PASSED_ON = frozenset({"PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"})


class AnswerWorkerError(Exception):
    """The worker cannot run at all: a broken installation, or too little memory for its libraries."""


class AnswerProcess:
    """At most one worker process; not thread-safe. It is started by the first pair and killed when it overruns."""

    def __init__(self, timeout_s: float, memory_mib: int) -> None:
        self._timeout_s = timeout_s
        self._memory_mib = memory_mib
        self._process: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize | None = None
        self._buffer = b""
        self.starts = 0
        """Processes started so far: one, and one more for every overrun."""
        self.spent_s = 0.0
        """Time that pairs have taken so far, without the starts of processes."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def same(self, left: str, right: str, within_s: float | None = None) -> bool:
        """Whether the worker finds two LaTeX expressions equal; False if it overruns, or dies twice.

        Args:
            within_s: time that is left for it, where that is less than the pair's own; all its lives share it.

        Raises:
            AnswerWorkerError: the worker does not start.
        """
        until = self.spent_s + (self._timeout_s if within_s is None else min(within_s, self._timeout_s))
        for _ in range(_LIVES):
            process = self._running()
            began = time.monotonic()
            line = self._asked(process, left, right, began + until - self.spent_s)
            self.spent_s += time.monotonic() - began
            if line is not None:
                return json.loads(line)["same"] is True
            overrun = process.poll() is None
            self._kill()
            if overrun:
                break
        return False

    def close(self) -> None:
        """End the worker and wait for it; a later pair starts a new one."""
        if self._process is None:
            return
        self._process.stdin.close()  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self._kill()

    def _asked(self, process: subprocess.Popen[bytes], left: str, right: str, deadline: float) -> bytes | None:
        try:
            process.stdin.write(json.dumps([left, right]).encode() + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            process.wait()
            return None
        return self._line(process, deadline)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._kill()
        return self._process or self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        package_root = str(Path(__file__).parents[2])
        path = os.pathsep.join(part for part in (package_root, os.environ.get("PYTHONPATH")) if part)
        command = [sys.executable, "-P", "-m", "dsa_ray.generation.answer_worker"]
        process = subprocess.Popen(
            [*command, str(self._memory_mib), str(0.8 * self._timeout_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**_harmless_environment(), "PYTHONPATH": path},
        )
        self._process = process
        self._finalizer = weakref.finalize(self, _end, process)
        self.starts += 1
        line = self._line(process, time.monotonic() + _START_S)
        hello = json.loads(line) if line else {"ready": False, "error": f"no answer, exit code {process.poll()}"}
        if not hello["ready"]:
            self._kill()
            raise AnswerWorkerError(f"the process that checks answers does not start: {hello['error']}")
        return process

    def _line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
        """The next line of the worker; None at the deadline or when it has gone."""
        descriptor = process.stdout.fileno()  # type: ignore[union-attr]
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                return None
            data = os.read(descriptor, 65536)
            if not data:
                process.wait()
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _kill(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._process = None
        self._buffer = b""


def _harmless_environment() -> dict[str, str]:
    """What an interpreter needs. The worker reads what models write, so it is not given the keys that lie beside it."""
    return {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(("LC_", "PYTHON"))
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill, reap and close: no zombie and no open pipe is left."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
