"""The curator's benchmark on a small crowd: it measures what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_small_crowd_is_measured() -> None:
    command = [sys.executable, str(ROOT / "jobs" / "bench" / "_crowd.py"), "3000", "100"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["losses_per_step"] > 5
    assert found["lease_p99_ms"] > found["lease_p50_ms"] > 0
    assert 30 < found["history_bytes"] < found["history_bytes_at_cap"] < 400
