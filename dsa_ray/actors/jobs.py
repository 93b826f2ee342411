"""From a submitted job to its run: what `ray job submit` was given is in the job's entry point."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from ray.job_submission import JobSubmissionClient

from dsa_ray.config import ConfigError, load


def run_of_job(name: str, entry_point: Callable[[str], str] | None = None) -> str:
    """The run folder of a job.

    Args:
        name: its submission id, or `job:` and that.
        entry_point: of a submission id; asks the cluster at RAY_ADDRESS by default.

    Raises:
        ConfigError: the cluster does not know it, or it is no run; one line.
    """
    job = name.removeprefix("job:")
    words = shlex.split((entry_point or _ask)(job))
    config = next((word for word in words if word.endswith((".yaml", ".yml")) and "=" not in word), None)
    if config is None:
        raise ConfigError(f"{job}: its entry point names no configuration: {' '.join(words)[:200]}")
    run = load(config, [word for word in words if "=" in word and not word.startswith("-")]).run
    return f"{run.storage.rstrip('/')}/{run.name}"


def _ask(job: str) -> str:
    try:
        return JobSubmissionClient().get_job_info(job).entrypoint
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(f"{job}: {str(error).splitlines()[0]}; set RAY_ADDRESS=http://HEAD:8265") from None
