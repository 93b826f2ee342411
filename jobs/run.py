"""The target of `ray job submit`: the same as `dsa run`, inside the cluster that runs the job.

    ray job submit --working-dir . -- python jobs/run.py configs/cluster-7b-zero3.yaml run.storage=/shared/runs

A job runs in a temporary copy of the working directory, so `run.storage` has to be absolute or a URI; a relative one is
refused with exit code 2. The job joins the cluster that started it unless an override `cluster.address=` is given.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The working directory travels with the job, the installed package may not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dsa_ray.cli import main
from dsa_ray.preflight import JOB_VARIABLE


def arguments(given: Sequence[str], in_job: bool) -> list[str]:
    """The arguments of `dsa` for those of this script; in a job, the running cluster is joined by default."""
    joins = any(argument.startswith("cluster.address=") for argument in given)
    return ["run", *given, *(["cluster.address=auto"] if in_job and not joins else [])]


if __name__ == "__main__":
    sys.exit(main(arguments(sys.argv[1:], JOB_VARIABLE in os.environ)))
