"""The target of `ray job submit` for writing alone: the same as `dsa generate`, inside the cluster that runs the job.

ray job submit --working-dir . -- python jobs/generate.py configs/cluster-7b-zero3.yaml run.storage=/shared/runs
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The working directory travels with the job, the installed package may not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dsa_ray.cli import main
from dsa_ray.preflight import JOB_VARIABLE

if __name__ == "__main__":
    given = sys.argv[1:]
    joins = any(argument.startswith("cluster.address=") for argument in given)
    sys.exit(
        main(["generate", *given, *(["cluster.address=auto"] if JOB_VARIABLE in os.environ and not joins else [])])
    )
