"""The target of `ray job submit`: the same as `dsa run`, inside the cluster that runs the job.

    ray job submit --working-dir . -- python jobs/run.py configs/cluster-7b-zero3.yaml run.storage=/shared/runs

A job runs in a temporary copy of the working directory, so `run.storage` has to be absolute or a URI; a relative one is
refused with exit code 2. The job joins the cluster that started it unless an override `cluster.address=` is given. A
job that is submitted again goes on with its run; one whose run is finished says so and ends well. The last line and the
exit code say how it ended. SIGTERM (`ray job stop`, Slurm) is an interruption: the run can be gone on with.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

# The working directory travels with the job, the installed package may not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dsa_ray.cli import main
from dsa_ray.exits import Exit
from dsa_ray.preflight import JOB_VARIABLE

ENDS = {
    Exit.OK: "finished",
    Exit.FAILED: "failed; submit it again to go on from the last checkpoint",
    Exit.USAGE: "refused: the line above names what to change",
    Exit.STALLED: "stalled: the lines above name what is stuck; submit it again to go on from the last checkpoint",
    Exit.INTERRUPTED: "interrupted; submit it again to go on",
}


def arguments(given: Sequence[str], in_job: bool) -> list[str]:
    """The arguments of `dsa` for those of this script; a job joins its cluster and goes on with its run by default."""
    joins = any(argument.startswith("cluster.address=") for argument in given)
    resumes = any(argument in ("--resume", "--auto-resume", "--dry-run") for argument in given)
    own = ([] if joins else ["cluster.address=auto"]) + ([] if resumes else ["--auto-resume"])
    return ["run", *given, *(own if in_job else [])]


def closing(code: int) -> str:
    """The last line of a job."""
    return f"job: {ENDS.get(code, 'failed')} (exit code {code})"


if __name__ == "__main__":
    inside = JOB_VARIABLE in os.environ
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ended = main(arguments(sys.argv[1:], inside))
    if inside:
        sys.stderr.flush()
        print(closing(ended), flush=True)
    sys.exit(ended)
