"""Whether a model has seen a benchmark: its loss on the test questions minus its loss on the training questions (GLAN).

A model that met neither, or both alike, is about as surprised by the one as by the other. Above zero it has been
trained on the training questions (the paper: +0.13 on GSM8K for a model that was, within 0.03 for one that was not).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from dsa_ray.evaluation.harness import TaskScore

GAP = "loss_gap"


def leakage(train: Sequence[float], test: Sequence[float]) -> dict[str, TaskScore]:
    """`loss_train`, `loss_test` and `loss_gap` (test minus train), nats per token, with standard errors over questions.

    Args:
        train: mean loss per token of each training question's answer.
        test: the same of the test questions.

    Raises:
        ValueError: one of them is empty.
    """
    if not train or not test:
        raise ValueError("leakage: both sets must hold questions")
    marks = {"loss_train": _mean(train), "loss_test": _mean(test)}
    gap = marks["loss_test"].value - marks["loss_train"].value
    errors = [mark.stderr for mark in marks.values() if mark.stderr is not None]
    stderr = math.hypot(*errors) if len(errors) == 2 else None
    return {**marks, GAP: TaskScore(value=gap, stderr=stderr, n=len(train) + len(test))}


def _mean(losses: Sequence[float]) -> TaskScore:
    stderr = statistics.stdev(losses) / math.sqrt(len(losses)) if len(losses) > 1 else None
    return TaskScore(value=statistics.fmean(losses), stderr=stderr, n=len(losses))
