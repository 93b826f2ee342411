"""Ladders for the skills of a run that stayed hard, by its teacher and its student: RUN/ladders/samples.jsonl.

    python jobs/ladders.py runs/quickstart [yoda.harder=3 ...]
    ray job submit --working-dir . -- python jobs/ladders.py /shared/runs/calculus

Beside a run that still trains (with `train.publish_every`) the student is the newest published one, after it the
trained one. What was climbed before is kept: the same command goes on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The working directory travels with the job, the installed package may not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dsa_ray.config import ConfigError, with_overrides
from dsa_ray.exits import Exit
from dsa_ray.laddering import climb
from dsa_ray.preflight import JOB_VARIABLE
from dsa_ray.storage.run_folder import RunFolder, find_run


def main(given: list[str]) -> int:
    if not given or "=" in given[0]:
        print("usage: ladders.py RUN [section.key=value ...]", file=sys.stderr)
        return Exit.USAGE
    joins = any(argument.startswith("cluster.address=") for argument in given)
    overrides = [*given[1:], *(["cluster.address=auto"] if JOB_VARIABLE in os.environ and not joins else [])]
    try:
        run = RunFolder.open(find_run(given[0]))
        counts = climb(run, with_overrides(run.config, overrides))
    except ConfigError as error:
        print(f"dsa: {error}", file=sys.stderr)
        return Exit.USAGE
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count))
    print(f"{run.path}/ladders/samples.jsonl")
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
