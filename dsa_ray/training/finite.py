"""Examples whose loss is NaN or infinite, and a step without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dsa_ray.training.loss import RowTensors, example_losses

Forward = Callable[[RowTensors], Tensor]
"""The negative log-likelihood of every target of a row."""


def not_finite(losses: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Places of the examples whose loss is NaN or infinite, int64; one without loss tokens has none."""
    return np.flatnonzero((tokens > 0) & ~np.isfinite(losses))


def finite_part(forward: Forward, row: RowTensors, nll: Tensor) -> tuple[RowTensors, Tensor, np.ndarray, np.ndarray]:
    """The row without the examples that cannot be trained on; their losses are given as they came out.

    Where packed examples share an attention call, one that is not finite spoils its neighbours (0 * inf is no
    number). So each suspect is run beside the sound ones alone: what is still not finite then is left out.

    Returns:
        The row that may be trained on, its nll, and what `example_losses` says of every example.
    """
    losses, tokens = example_losses(nll, row)
    suspects = not_finite(losses, tokens)
    if not suspects.size:
        return row, nll, losses, tokens
    found = []
    for suspect in suspects:
        with torch.no_grad():
            alone = neutral(row, suspects[suspects != suspect])
            if not np.isfinite(example_losses(forward(alone), alone)[0][suspect]):
                found.append(suspect)
    bad = np.array(found, np.int64)
    sound = neutral(row, bad)
    nll = forward(sound)
    mended, _ = example_losses(nll, sound)
    mended[bad] = losses[bad]
    return sound, nll, mended, tokens


def neutral(row: RowTensors, examples: np.ndarray) -> RowTensors:
    """The same row, in which these examples hold no text and weigh nothing: shapes, and so collectives, stay."""
    input_ids, weight = row.input_ids.clone(), row.weight.clone()
    for example in examples.tolist():
        start, end = row.bounds[example]
        input_ids[0, start:end] = 0
    weight[torch.from_numpy(np.isin(row.segment, examples)).to(weight.device)] = 0.0
    return replace(row, input_ids=input_ids, weight=weight)
