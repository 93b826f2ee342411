"""The learning rate as a function of how far a phase has come."""

from __future__ import annotations

import math

from dsa_ray.sections import TrainConfig


def learning_rate(config: TrainConfig, phase: str, progress: float) -> float:
    """Linear warm-up over the first `warmup` of a phase, then `schedule` down to `final_lr_share` of the peak.

    Args:
        phase: `textbooks` or `exercises`; each has its own peak.
        progress: where the step lies in its phase, 0..1 (clipped).
    """
    peak = config.learning_rate
    if phase == "textbooks" and config.textbook_learning_rate is not None:
        peak = config.textbook_learning_rate
    progress = min(max(progress, 0.0), 1.0)
    if progress < config.warmup:
        return peak * progress / config.warmup
    if config.warmup >= 1.0 or config.schedule == "constant":
        return peak
    done = (progress - config.warmup) / (1.0 - config.warmup)
    floor = config.final_lr_share
    left = 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return peak * (floor + (1.0 - floor) * left)
