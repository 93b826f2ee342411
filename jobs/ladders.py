"""Ladders for the skills of a run that stayed hard, by its teacher and its student: RUN/ladders/samples.jsonl.

    python jobs/ladders.py runs/quickstart [yoda.harder=3 ...]
    python jobs/ladders.py runs/quickstart --take-in     what they taught becomes exercises of the run, for --resume
    ray job submit --working-dir . -- python jobs/ladders.py /shared/runs/calculus

Beside a run that still trains (with `train.publish_every`) the student is the newest published one, after it the
trained one. What was climbed before is kept: the same command goes on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# The working directory travels with the job, the installed package may not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dsa_ray.config import ConfigError, with_overrides
from dsa_ray.exits import Exit
from dsa_ray.ladder_intake import SAMPLES, take_in
from dsa_ray.laddering import climb
from dsa_ray.preflight import JOB_VARIABLE
from dsa_ray.storage.run_folder import RunFolder, find_run


def main(given: list[str]) -> int:
    if not given or "=" in given[0] or given[0].startswith("-"):
        print("usage: ladders.py RUN [--take-in | section.key=value ...]", file=sys.stderr)
        return Exit.USAGE
    joins = any(argument.startswith("cluster.address=") for argument in given)
    overrides = [*given[1:], *(["cluster.address=auto"] if JOB_VARIABLE in os.environ and not joins else [])]
    try:
        run = RunFolder.open(find_run(given[0]))
        if given[1:] == ["--take-in"]:
            storage, _, name = run.path.rpartition("/")
            own = with_overrides(run.config, [f"run.name={name}"])
            with RunFolder.create(storage, own, resume=True) as locked:
                return _say(take_in(locked), f"{run.path}: exercises of the run when it is resumed")
        counts = climb(run, with_overrides(run.config, overrides))
    except ConfigError as error:
        print(f"dsa: {error}", file=sys.stderr)
        return Exit.USAGE
    return _say(counts, f"{run.path}/{SAMPLES}")


def _say(counts: Mapping[str, int], line: str) -> int:
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "nothing")
    print(line)
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
