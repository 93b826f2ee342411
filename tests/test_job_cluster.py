"""`ray job submit` against a real head node with token authentication, started and ended here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_real_run import SMALL

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).parent / "ray")


@contextlib.contextmanager
def ray_folder() -> Iterator[str]:
    """A folder for RAY_TMPDIR, short because sockets lie in it: a head node leaves its address there when it ends, and
    in /tmp, where it would be by default, each `ray.init` without an address tries to join it ever after."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield folder


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a token of its own."""
    with ray_folder() as folder:
        own = {"HOME": str(tmp_path), "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "PYTHONPATH": str(ROOT)}
        environment = {**os.environ, **own}
        environment.pop("RAY_ADDRESS", None)
        subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
        yield environment


@pytest.fixture
def head(home: dict[str, str]) -> Iterator[str]:
    """A head node; yields the dashboard's address."""
    port, dashboard = free_port(), free_port()
    command = [RAY, "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--dashboard-host=127.0.0.1"]
    process = subprocess.Popen(
        [*command, f"--dashboard-port={dashboard}", "--disable-usage-stats"],
        env=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for_port(dashboard)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


@pytest.mark.ring
@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_submitted_job_runs_the_ring_and_tells_the_truth(head: str, home: dict[str, str], tmp_path: Path):
    storage = tmp_path / "runs"
    entry = f"{sys.executable} jobs/run.py configs/quickstart.yaml run.name=job run.storage={storage} {' '.join(SMALL)}"
    submit = [RAY, "job", "submit", f"--address={head}", "--working-dir=.", "--", *entry.split()]
    done = subprocess.run(submit, cwd=ROOT, env=home, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((storage / "job" / "summary.json").read_text())["state"] == "finished"

    assert "job: finished (exit code 0)" in done.stdout
    submitted = re.search(r"raysubmit_\w+", done.stdout)
    status = [sys.executable, "-m", "dsa_ray.cli", "status", submitted.group()]
    told = subprocess.run(
        status, cwd=ROOT, env={**home, "RAY_ADDRESS": head}, capture_output=True, text=True, check=False
    )
    assert "finished; see `dsa report`" in told.stdout, told.stderr

    again = subprocess.run(submit, cwd=ROOT, env=home, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0
    assert "this run is finished already" in again.stdout

    changed = subprocess.run(
        [*submit, "graph.target=algebra"], cwd=ROOT, env=home, capture_output=True, text=True, timeout=120, check=False
    )
    assert changed.returncode != 0
    assert "graph.target" in changed.stdout
    assert "job: refused" in changed.stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port: int, limit_s: float = 90) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise AssertionError(f"nothing listens on port {port} after {limit_s} s")
