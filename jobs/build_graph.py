"""The target of `ray job submit` for a skill graph alone: the same as `dsa graph build`, inside the job's cluster.

    ray job submit --working-dir . -- python jobs/build_graph.py configs/cluster-7b-zero3.yaml run.storage=/shared/runs

`run.storage` has to be absolute or a URI, as for `jobs/run.py`.
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
    own = ["cluster.address=auto"] if JOB_VARIABLE in os.environ and not joins else []
    sys.exit(main(["graph", "build", *given, *own]))
