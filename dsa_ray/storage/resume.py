"""What a resumed run may change: everything else would make the journal or the checkpoints mean something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dsa_ray.config import Config, ConfigError

MAY_CHANGE = (
    "run.name",
    "run.storage",
    "teacher.base_url",
    "teacher.api_key_env",
    "teacher.tensor_parallel",
    "teacher.memory_fraction",
    "teacher.kv_cache_gib",
    "generate.replicas",
    "generate.min_replicas",
    "generate.in_flight",
    "generate.slots",
    "generate.attempts",
    "generate.request_timeout_s",
    "generate.max_exercises",
    "generate.budget",
    "train.slots",
    "train.steps",
    "train.activation_checkpointing",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.max_failures",
    "evaluate.answer_timeout_s",
    "cluster",
    "watch",
)
"""Keys, or whole sections, that say where, how long and with what means a run goes on, not what it computes."""


def check_resume(stored: Config, given: Config) -> None:
    """Compare the configuration of a run with the one that it is resumed with.

    Raises:
        ConfigError: one line that names the first key that may not change.
    """
    before = dict(_leaves(stored.model_dump(mode="json")))
    now = dict(_leaves(given.model_dump(mode="json")))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and not _may_change(key)]
    if changed:
        key = changed[0]
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise ConfigError(
            f"{key}: was {before.get(key)!r} when the run began and cannot become {now.get(key)!r} on resume; "
            f"put it back, or start a new run with another run.name{more}"
        )


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        elif not isinstance(value, Mapping):
            yield f"{prefix}{name}", value
