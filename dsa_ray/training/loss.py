"""What a packed row costs: the loss per token, per example and of the row.

Only positions whose next token carries loss are turned into logits; prompts and padding are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dsa_ray.training.collate import NO_LOSS, example_count

_CHUNK_LOGITS = 1 << 25
"""Logits held in fp32 at one time; above it the cross-entropy runs in pieces and recomputes them in backward."""
_CHUNK_LOGITS_GPU = 1 << 28
"""The same where memory is larger and small matrix products are slow."""


@dataclass(frozen=True, slots=True)
class RowTensors:
    """A packed row as the model takes it: U used tokens, P of which predict a token that carries loss."""

    input_ids: Tensor
    """int64[1, U], padding cut off."""
    position_ids: Tensor
    """int64[1, U]."""
    bounds: tuple[tuple[int, int], ...]
    """[start, end) of every example."""
    where: Tensor
    """int64[P]: positions whose logits are wanted, each one before its target."""
    targets: Tensor
    """int64[P]."""
    weight: Tensor
    """float32[P]: weight of the target's example."""
    segment: np.ndarray
    """int64[P]: example of the target; stays on the host."""
    examples: int
    denominator: float


def row_tensors(row: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> RowTensors:
    """Cut the padding off a row (see `collate`) and move it to `device`.

    A row without examples becomes one token of weight 0, so that every rank runs the same collectives.
    """
    used = max(1, int((row["segment"] >= 0).sum()))
    segment = row["segment"][:used]
    targets = np.flatnonzero(row["labels"][:used] != NO_LOSS)
    if len(targets) == 0:
        targets = np.zeros(1, np.int64)
        weight = np.zeros(1, np.float32)
        owner = np.full(1, -1, np.int64)
    else:
        weight, owner = row["weight"][targets], segment[targets]
    starts = np.flatnonzero(np.diff(segment, prepend=segment[0] - 1))
    ends = np.append(starts[1:], used)
    return RowTensors(
        input_ids=_to(row["input_ids"][:used], device)[None],
        position_ids=_to(row["position_ids"][:used], device)[None],
        bounds=tuple(zip(starts.tolist(), ends.tolist(), strict=True)),
        where=_to(np.maximum(targets - 1, 0), device),
        targets=_to(row["input_ids"][targets], device),
        weight=_to(weight, device),
        segment=owner,
        examples=example_count(row),
        denominator=float(row["denominator"][0]),
    )


def rows_at_once(vocabulary: int, device: torch.device) -> int:
    """Positions whose logits may exist at one time."""
    return max(1, (_CHUNK_LOGITS if device.type == "cpu" else _CHUNK_LOGITS_GPU) // vocabulary)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of each target in nats, float32[P], from logits [P, V] of any float type."""
    rows = rows_at_once(logits.shape[-1], logits.device)
    if len(targets) <= rows:
        return _nll(logits, targets)
    pieces = zip(logits.split(rows), targets.split(rows), strict=True)
    return torch.cat([checkpoint(_nll, *piece, use_reentrant=False) for piece in pieces])


def row_loss(nll: Tensor, row: RowTensors) -> Tensor:
    """The row's share of the step's token mean: sum(weight * nll) / denominator."""
    return (row.weight * nll).sum() / row.denominator


def example_losses(nll: Tensor, row: RowTensors) -> tuple[np.ndarray, np.ndarray]:
    """Mean nll per example, float64[I] (nan without loss tokens), and its loss tokens, int64[I]; unweighted."""
    counted = row.segment >= 0
    owner = row.segment[counted]
    values = nll.detach().double().cpu().numpy()[counted]
    tokens = np.bincount(owner, minlength=row.examples)
    sums = np.bincount(owner, weights=values, minlength=row.examples)
    means = np.full(row.examples, np.nan)
    np.divide(sums, tokens, out=means, where=tokens > 0)
    return means, tokens.astype(np.int64)


def _nll(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), targets, reduction="none")


def _to(array: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.array(array)).to(device)  # a copy: arrays out of Arrow are read-only
