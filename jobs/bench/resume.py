"""`dsa generate`, killed as a whole job at random moments and started again: what is lost, doubled or written anew?

    python jobs/bench/resume.py [--quick] [--kills N]

Every process of the job gets SIGKILL, some seconds after its first new item is durable, ten times (three with
`--quick`); then it runs to its end. After each kill the journal's items are noted: each must be there at the end,
unchanged, once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import yaml
from _result import at_least, at_most, finish

from dsa_ray.storage.journal import iter_segments

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
START_S = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three kills")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    kills, rng = 3 if parsed.quick else parsed.kills, random.Random(parsed.seed)
    with tempfile.TemporaryDirectory(prefix="bench-resume-") as storage:
        job = _Job(storage, kills)
        noted: dict[int, str] = {}
        lost = changed = 0
        for number in range(kills):
            job.start()
            job.wait_for_more_than(len(noted))
            time.sleep(rng.uniform(0.0, 3.0))
            job.kill()
            now = job.items()
            lost += len(noted.keys() - now.keys())
            changed += sum(now.get(item, text) != text for item, text in noted.items())
            print(f"  kill {number + 1:>2}: {len(now)} items durable", flush=True)
            noted = now
        before = set(noted)
        code = job.run()
        rows = job.rows()
    at_end = {row["id"]: json.dumps(row["item"], sort_keys=True) for row in rows}
    lost += len(noted.keys() - at_end.keys())
    changed += sum(at_end.get(item, text) != text for item, text in noted.items())
    doubled = sum(count - 1 for count in Counter(row["id"] for row in rows).values())
    texts = Counter(json.dumps(row["item"], sort_keys=True) for row in rows if row["kind"] == "exercise")
    bars = {
        "lost": at_most(lost, 0),
        "duplicated": at_most(doubled + sum(count - 1 for count in texts.values()), 0),
        "regenerated": at_most(changed, 0),
        "ended_well": at_most(code, 0),
        "kills": at_least(kills, 10),
    }
    figures = {"kills": kills, "items": len(at_end), "durable_before_the_last_start": len(before)}
    if parsed.quick:
        bars.pop("kills")
    return finish("resume", figures, bars, skipped=["kills"] if parsed.quick else [], packages=("ray",))


class _Job:
    """One `dsa generate` at a time, over one run folder."""

    def __init__(self, storage: str, kills: int) -> None:
        self._folder = Path(storage) / "run"
        self._config = Path(storage) / "config.yaml"
        self._config.write_text(yaml.safe_dump(_config(storage, 20 + 20 * kills)))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = os.pathsep.join([str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dsa_ray.cli", "generate", str(self._config)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
        )

    def wait_for_more_than(self, count: int) -> None:
        """Until more items than before are durable, or the job ends."""
        deadline = time.monotonic() + START_S
        while len(self.items()) <= count and self._process is not None and self._process.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise SystemExit(f"nothing was written within {START_S:g} s")
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL for the job and for every process that it started."""
        assert self._process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._process.pid)
            for process in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        self._process.wait()

    def run(self) -> int:
        self.start()
        assert self._process is not None
        return self._process.wait()

    def rows(self) -> list[dict[str, Any]]:
        journal = self._folder / "journal"
        if not journal.is_dir():
            return []
        return [row for _, segment in iter_segments(str(journal), "written") for row in segment]

    def items(self) -> dict[int, str]:
        """The text of every durable item, by id."""
        return {row["id"]: json.dumps(row["item"], sort_keys=True) for row in self.rows()}


def _config(storage: str, exercises: int) -> dict[str, Any]:
    return {
        "run": {"name": "run", "storage": storage},
        "graph": {"target": "Differential calculus", "max_skills": 9, "elementary": ["Addition", "Powers"]},
        "teacher": {"kind": "python", "factory": "_slow_writer:slow_writer"},
        "generate": {"exercises_per_skill": exercises, "in_flight": 16, "slots": 64, "checks": {"votes": 1}},
    }


if __name__ == "__main__":
    sys.exit(main())
