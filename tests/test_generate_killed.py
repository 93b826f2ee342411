"""`dsa generate` killed as a whole job at random moments: the benchmark's quick form is the test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.ring
@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_written_again() -> None:
    command = [sys.executable, str(ROOT / "jobs" / "bench" / "resume.py"), "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert all(bar["ok"] for bar in result["bars"].values()), result
    assert result["figures"]["items"] > result["figures"]["durable_before_the_last_start"] > 0
