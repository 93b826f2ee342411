"""What a resumed run may change: everything else would make the journal or the checkpoints mean something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsa_ray.config import Config, ConfigError
from dsa_ray.sections import leaves

MAY_CHANGE = (
    "run.name",
    "run.storage",
    "run.loggers",
    "run.project",
    "teacher.base_url",
    "teacher.api_key_env",
    "teacher.tensor_parallel",
    "teacher.memory_fraction",
    "teacher.kv_cache_gib",
    "teacher.prefix_caching",
    "teacher.input_price",
    "teacher.output_price",
    "generate.replicas",
    "generate.min_replicas",
    "generate.in_flight",
    "generate.slots",
    "generate.attempts",
    "generate.request_timeout_s",
    "generate.max_exercises",
    "generate.budget",
    "train.ranks",
    "train.min_ranks",
    "train.resize_check_s",
    "train.slots",
    "train.steps",
    "train.activation_checkpointing",
    "train.checkpoint_every",
    "train.publish_every",
    "train.keep_checkpoints",
    "train.keep_best",
    "train.max_failures",
    "train.peak_tflops",
    "evaluate.answer_timeout_s",
    "yoda",
    "cluster",
    "watch",
)
"""Keys, or whole sections, that say where, how long and with what means a run goes on, not what it computes."""


SHOWN = 4
"""Differences that the refusal spells out."""


def check_resume(stored: Config, given: Config, *, allow: bool = False) -> None:
    """Compare the configuration of a run with the one that it is resumed with.

    Args:
        allow: the user takes the consequences of any change.

    Raises:
        ConfigError: one line that shows the keys that may not change, as they were and as they are.
    """
    if allow:
        return
    before = _set_values(stored)
    now = _set_values(given)
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and not _may_change(key)]
    if changed:
        shown = [f"{key}: was {before.get(key)!r}, is now {now.get(key)!r}" for key in changed[:SHOWN]]
        more = [f"and {len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
        raise ConfigError(
            f"{', '.join([*shown, *more])}; put it back, start a new run with another run.name, "
            "or resume all the same with --allow-changes"
        )


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE)


def _set_values(config: Config) -> dict[str, Any]:
    """An empty section sets nothing."""
    return {key: value for key, value in leaves(config.model_dump(mode="json")) if not isinstance(value, Mapping)}
