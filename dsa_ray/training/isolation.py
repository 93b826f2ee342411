"""Packed examples must not see each other: three ways to run a packed row, and a probe that picks one.

Packing leaks silently. Positions that restart, without a mask, isolate the examples in transformers only with
`use_cache=False`; with the default cache, or with a mask of ones, the losses are off by 0.02 to 0.22 nats.
And what isolates in one architecture need not in another. So nothing is taken on trust: `PackedModel` changes the
neighbours of an example and looks whether its loss moves.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from dsa_ray.training.collate import NO_LOSS
from dsa_ray.training.loss import RowTensors, cross_entropy, row_tensors

logger = logging.getLogger(__name__)

_ATTENTION = "dsa_segments"


class IsolationError(Exception):
    """No way was found to run packed rows with this model."""


class Isolation(StrEnum):
    SEGMENTS = "segments"
    """One attention call per example: work grows with the examples' lengths, not with the row's. Fastest on CPU."""
    POSITIONS = "positions"
    """transformers finds the examples by their restarting positions and masks the row, or uses varlen kernels."""
    SEPARATE = "separate"
    """One forward per example: always right, for models that offer nothing better."""


class PackedModel(nn.Module):
    """A causal LM that takes packed rows and gives the nll of the tokens that carry loss.

    Args:
        model: any causal LM of transformers, or a PEFT model around one.
        isolation: none lets the probe choose the first way that isolates on this device.

    Raises:
        IsolationError: the way asked for does not isolate the examples of a row.
    """

    def __init__(self, model: PreTrainedModel, isolation: Isolation | None = None) -> None:
        super().__init__()
        self.model = model
        self._plain_attention = model.config._attn_implementation
        self.isolation = Isolation.SEPARATE
        device = next(model.parameters()).device
        for way in [isolation] if isolation else _candidates(model, device):
            self._use(way)
            if _isolates(self, device):
                logger.info("packed rows are isolated by %s in %s", way, type(model).__name__)
                return
        raise IsolationError(f"{type(model).__name__}: packed examples see each other with isolation={isolation}")

    def forward(self, row: RowTensors) -> Tensor:
        """Negative log-likelihood of the row's targets in nats, float32[P]."""
        if self.isolation is Isolation.SEPARATE:
            return self._forward_separately(row)
        kwargs: dict[str, Any] = {"segment_bounds": row.bounds} if self.isolation is Isolation.SEGMENTS else {}
        output = self.model(
            input_ids=row.input_ids,
            position_ids=row.position_ids,
            use_cache=False,  # with a cache transformers does not look for packed examples: they would leak
            logits_to_keep=row.where,
            **kwargs,
        )
        return cross_entropy(output.logits[0], row.targets)

    def _forward_separately(self, row: RowTensors) -> Tensor:
        losses = []
        for start, end in row.bounds:
            inside = (row.where >= start) & (row.where < end)
            if inside.any():
                ids, where = row.input_ids[:, start:end], row.where[inside] - start
                logits = self.model(input_ids=ids, use_cache=False).logits[0]
                losses.append(cross_entropy(logits[where], row.targets[inside]))
        return torch.cat(losses)

    def _use(self, way: Isolation) -> None:
        self.isolation = way
        self.model.set_attn_implementation(_ATTENTION if way is Isolation.SEGMENTS else self._plain_attention)


def _candidates(model: PreTrainedModel, device: torch.device) -> list[Isolation]:
    # On CPU a row-wide mask costs O(T^2) for the whole row; on a GPU many small kernels cost more than the mask.
    segments = [Isolation.SEGMENTS] if device.type == "cpu" and model._can_set_attn_implementation() else []
    return [*segments, Isolation.POSITIONS, Isolation.SEPARATE]


def _segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segment_bounds: tuple[tuple[int, int], ...] = (),
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each of the bounds; query, key and value are [1, heads, T, head size]."""
    dtype = query.dtype
    if query.device.type == "cpu":
        # Without AMX the bf16 backward of torch's CPU flash attention takes 2 to 3 times as long as the fp32 one.
        query, key, value = query.float(), key.float(), value.float()
    kwargs["is_causal"] = True
    window = kwargs.get("sliding_window")
    parts = []
    with torch.autocast(query.device.type, enabled=False):  # it would cast back to bf16
        for start, end in segment_bounds or ((0, query.shape[2]),):
            mask = _window_mask(end - start, window, query.device) if window and end - start > window else None
            spans = (tensor[:, :, start:end] for tensor in (query, key, value))
            parts.append(sdpa_attention_forward(module, *spans, mask, **kwargs)[0])
    return torch.cat(parts, dim=1).to(dtype), None


def _window_mask(length: int, window: int, device: torch.device) -> Tensor:
    at = torch.arange(length, device=device)
    distance = at[:, None] - at[None, :]
    return ((distance >= 0) & (distance < window))[None, None]


AttentionInterface.register(_ATTENTION, _segment_attention)
AttentionMaskInterface.register(_ATTENTION, lambda *args, **kwargs: None)


@torch.no_grad()
def _isolates(packed: PackedModel, device: torch.device) -> bool:
    """Whether an example's loss stays when its neighbours change, and is that of the example alone."""
    way, training = packed.isolation, packed.training
    packed.eval()
    row, neighbours_changed = _probe_rows(packed.model.config.get_text_config().vocab_size, device)
    middle = torch.from_numpy(row.segment == 1).to(device)
    first, second = packed(row)[middle], packed(neighbours_changed)[middle]
    packed._use(Isolation.SEPARATE)
    alone = packed(row)[middle]
    packed._use(way)
    packed.train(training)
    tolerance = 1e-3 if next(packed.model.parameters()).dtype == torch.float32 else 0.1
    unmoved = torch.allclose(first, second, rtol=0.0, atol=1e-5)
    return unmoved and torch.allclose(first, alone, rtol=tolerance, atol=tolerance)


def _probe_rows(vocabulary: int, device: torch.device) -> tuple[RowTensors, RowTensors]:
    lengths = (7, 11, 6)
    numbers = np.random.default_rng(0)
    ids = numbers.integers(0, vocabulary, sum(lengths))
    segment = np.repeat(np.arange(3), lengths)
    changed = np.where(segment == 1, ids, (ids + 1 + vocabulary // 3) % vocabulary)
    positions = np.concatenate([np.arange(length) for length in lengths])
    rows = []
    for tokens in (ids, changed):
        labels = np.where(positions == 0, NO_LOSS, tokens)
        row = {
            "input_ids": tokens,
            "position_ids": positions,
            "labels": labels,
            "segment": segment,
            "weight": np.ones(len(ids), np.float32),
            "denominator": np.ones(1),
        }
        rows.append(row_tensors(row, device))
    return rows[0], rows[1]
