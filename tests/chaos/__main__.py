"""Many seeded schedules in a row: `python -m tests.chaos [--schedules N] [--seed S] [--keep FOLDER]`.

Each is a whole `dsa run` on a local Ray, with real Ray Train, DeepSpeed and vLLM for the exam; the teacher is the exact
writer. The seed of a schedule draws it again: `--schedules 1 --seed S`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.invariants import violations
from tests.chaos.play import Play
from tests.chaos.schedules import draw


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule; the others follow")
    parser.add_argument("--keep", type=Path, help="leave the run folders here")
    parsed = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    bad: list[int] = []
    for seed in range(parsed.seed, parsed.seed + parsed.schedules):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
            folder = (parsed.keep or Path(scratch)) / f"seed-{seed}"
            schedule = draw(seed)
            played = Play(schedule, folder).play()
            found = violations(played)
        print(f"{seed:>6}  {'ok ' if not found else 'BAD'}  {time.monotonic() - began:5.0f} s  {schedule}", flush=True)
        if missed := len(schedule.faults) - len(played.done):
            print(f"        {missed} of these found no target")
        for line in found:
            print(f"        {line}", flush=True)
        bad += [seed] if found else []
    print(f"{parsed.schedules - len(bad)} of {parsed.schedules} schedules without a violation")
    if bad:
        print(f"seeds with one: {' '.join(map(str, bad))}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
