"""The target of `ray job submit`: the same as `dsa eval`, on the machine that runs the job.

    ray job submit --working-dir . -- python jobs/evaluate.py /shared/runs/calculus --tasks gsm8k,mine.jsonl

A job runs in a temporary copy of the working directory, so a run or model folder has to be an absolute path.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The working directory travels with the job, the installed package may not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dsa_ray.cli import main
from dsa_ray.exits import Exit
from dsa_ray.preflight import JOB_VARIABLE


def refusal(given: Sequence[str], in_job: bool) -> str | None:
    """Why a job cannot evaluate this, in one line; None when it can."""
    target = next((argument for argument in given if not argument.startswith("-")), "")
    if in_job and (target.startswith(".") or (Path(target).is_dir() and not Path(target).is_absolute())):
        return f"{target}: is relative, and a submitted job runs in a temporary copy; give an absolute path"
    return None


if __name__ == "__main__":
    fault = refusal(sys.argv[1:], JOB_VARIABLE in os.environ)
    if fault:
        print(f"dsa: {fault}", file=sys.stderr)
        sys.exit(Exit.USAGE)
    sys.exit(main(["eval", *sys.argv[1:]]))
