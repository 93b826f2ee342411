"""Every process of a run leaves a note of where it writes its log, so that `dsa logs` finds it later and elsewhere."""

from __future__ import annotations

import os
import socket
import time

import ray

from dsa_ray.report.logs import Process, note

RUN_VARIABLE = "DSA_RUN"
"""Environment variable of all processes of a run: its folder, path or URI."""


def note_process(name: str) -> None:
    """Leave the note. Does nothing outside a run.

    Args:
        name: of the process within its run, e.g. `teacher-0`; the same again after a restart.
    """
    run = os.environ.get(RUN_VARIABLE)
    if run is None:
        return
    note(
        run,
        Process(
            name=name,
            started=time.time(),
            host=socket.gethostname(),
            node=ray.get_runtime_context().get_node_id(),
            pid=os.getpid(),
            files=_written_to(1) + _written_to(2),
        ),
    )


def _written_to(descriptor: int) -> tuple[str, ...]:
    """The file behind a descriptor, where it is one."""
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    return (path,) if path.startswith("/") and os.path.isfile(path) else ()
