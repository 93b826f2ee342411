"""Packed examples must not see each other: four ways to run a packed row, and a probe that picks one.

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
from transformers import PreTrainedModel

from dsa_ray.training.attention import SEGMENTS, VARLEN, UnknownAttention, varlen_runs
from dsa_ray.training.collate import NO_LOSS
from dsa_ray.training.head import ChunkedHead, chunkable
from dsa_ray.training.loss import RowTensors, cross_entropy, row_tensors, rows_at_once

logger = logging.getLogger(__name__)


class IsolationError(Exception):
    """No way was found to run packed rows with this model."""


class Isolation(StrEnum):
    SEGMENTS = "segments"
    """One attention call per example: work grows with the examples' lengths, not with the row's. Fastest on CPU."""
    VARLEN = "varlen"
    """The same work in one call of torch's variable-length flash kernels: GPUs, 16 bits. Fastest there."""
    POSITIONS = "positions"
    """transformers finds the examples by their restarting positions and masks the row, or uses varlen kernels."""
    SEPARATE = "separate"
    """One forward per example: always right, for models that offer nothing better."""


_ATTENTION = {Isolation.SEGMENTS: SEGMENTS, Isolation.VARLEN: VARLEN}


class PackedModel(nn.Module):
    """A causal LM that takes packed rows and gives the nll of the tokens that carry loss.

    Args:
        model: any causal LM of transformers, or a PEFT model around one.
        isolation: none lets the probe choose the first way that isolates on this device.
        autocast: type of the arithmetic where it is not that of the weights.

    Raises:
        IsolationError: the way asked for does not isolate the examples of a row.
    """

    def __init__(
        self, model: PreTrainedModel, isolation: Isolation | None = None, autocast: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self._autocast = autocast
        self._vocabulary = model.config.get_text_config().vocab_size
        self._head: ChunkedHead | None = None
        self._plain_attention = _plain_attention(model)
        self.isolation = Isolation.SEPARATE
        device = next(model.parameters()).device
        if isolation is Isolation.VARLEN and not varlen_runs(model.config.get_text_config(), device, self.dtype):
            raise IsolationError(
                f"isolation={isolation}: these kernels need a GPU from Ampere on, 16 bits and heads of at most 256, "
                f"not {device.type} in {self.dtype}; leave the choice to the probe"
            )
        for way in [isolation] if isolation else _candidates(model, device, self.dtype):
            self._use(way)
            if _isolates(self, device):
                logger.info("packed rows are isolated by %s in %s", way, type(model).__name__)
                self._head = _chunked_head(self, device)
                return
        raise IsolationError(f"{type(model).__name__}: packed examples see each other with isolation={isolation}")

    def compile_layers(self) -> None:
        """Compile every layer of the model by itself, for rows of any length; the first steps take minutes."""
        names = set(self.model._no_split_modules or ())
        for module in self.model.modules():
            if type(module).__name__ in names:
                module.compile(dynamic=True)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the arithmetic."""
        return self._autocast or next(self.model.parameters()).dtype

    def forward(self, row: RowTensors, rows: int | None = None) -> Tensor:
        """Negative log-likelihood of the row's targets in nats, float32[P].

        Args:
            rows: positions whose logits may exist at one time; none: what suits the device.
        """
        with self._arithmetic(row):
            if self.isolation is Isolation.SEPARATE:
                return self._forward_separately(row)
            return self._forward_packed(row, rows or rows_at_once(self._vocabulary, row.input_ids.device))

    def _forward_packed(self, row: RowTensors, rows: int) -> Tensor:
        """The nll with the logits of at most `rows` positions at one time, where the output layer allows it."""
        in_pieces = self._head is not None and len(row.targets) > rows
        if in_pieces:
            self._head.ask(row.targets, rows)
        logits = self._logits(row)
        return logits[0, :, 0] if in_pieces else cross_entropy(logits[0], row.targets)

    def _logits(self, row: RowTensors) -> Tensor:
        """[1, P, V], or what the output layer was asked for in their place."""
        return self.model(
            input_ids=row.input_ids,
            position_ids=row.position_ids,
            use_cache=False,  # with a cache transformers does not look for packed examples: they would leak
            logits_to_keep=row.where,
            **attention_arguments(self.isolation, row),
        ).logits

    def _forward_separately(self, row: RowTensors) -> Tensor:
        losses = []
        for start, end in row.bounds:
            inside = (row.where >= start) & (row.where < end)
            if inside.any():
                ids, where = row.input_ids[:, start:end], row.where[inside] - start
                logits = self.model(input_ids=ids, use_cache=False).logits[0]
                losses.append(cross_entropy(logits[where], row.targets[inside]))
        return torch.cat(losses)

    def _arithmetic(self, row: RowTensors) -> torch.autocast:
        return torch.autocast(row.input_ids.device.type, self._autocast, enabled=self._autocast is not None)

    def _use(self, way: Isolation) -> None:
        self.isolation = way
        self.model.set_attn_implementation(_ATTENTION.get(way, self._plain_attention))


def _plain_attention(model: PreTrainedModel) -> str:
    """The model's own attention; where it caps its scores (Gemma-2), not torch's, which would leave that out."""
    capped = getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None
    own = model.config._attn_implementation
    return "eager" if capped and own == "sdpa" else own


def _candidates(model: PreTrainedModel, device: torch.device, dtype: torch.dtype) -> list[Isolation]:
    # On CPU a row-wide mask costs O(T^2) for the whole row; on a GPU many small kernels cost more than the mask.
    ways = [Isolation.POSITIONS, Isolation.SEPARATE]
    if not model._can_set_attn_implementation():
        return ways
    if device.type == "cpu":
        return [Isolation.SEGMENTS, *ways]
    return [Isolation.VARLEN, *ways] if varlen_runs(model.config.get_text_config(), device, dtype) else ways


@torch.no_grad()
def _chunked_head(packed: PackedModel, device: torch.device) -> ChunkedHead | None:
    """The output layer made to work in pieces; none where that would not give the model's own losses."""
    layer = packed.model.get_output_embeddings()
    if not chunkable(layer) or packed.isolation is Isolation.SEPARATE:
        return None
    training = packed.training
    packed.eval()
    row, _ = _probe_rows(packed._vocabulary, device)
    unchanged = _gives_logits(packed, layer, row)
    if unchanged:
        plain = packed(row)
        packed._head = ChunkedHead(layer)
        pieces = packed.forward(row, rows=len(row.targets) // 2)
        tolerance = _tolerance(packed)
        unchanged = torch.allclose(pieces.float(), plain, rtol=tolerance, atol=tolerance)
    packed.train(training)
    if unchanged:
        return packed._head
    if packed._head is not None:
        packed._head = None
        del layer.forward
    logger.info("%s changes its logits after the output layer: its loss is not taken in pieces", type(packed.model))
    return None


def _gives_logits(packed: PackedModel, layer: nn.Module, row: RowTensors) -> bool:
    """Whether the model's logits are what its output layer gives, to the last bit: no soft cap, no scale."""
    given: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: given.append(output))
    with packed._arithmetic(row):
        logits = packed._logits(row)
    hook.remove()
    return len(given) == 1 and torch.equal(logits.float(), given[0].float())


def attention_arguments(way: Isolation, row: RowTensors) -> dict[str, Any]:
    """What the attention functions need to know of the row."""
    if way is Isolation.SEGMENTS:
        return {"segment_bounds": row.bounds}
    if way is not Isolation.VARLEN:
        return {}
    starts = torch.tensor([0, *(end for _, end in row.bounds)], dtype=torch.int32)
    return {
        "segment_starts": starts.to(row.input_ids.device),
        "longest_segment": max(end - start for start, end in row.bounds),
    }


@torch.no_grad()
def _isolates(packed: PackedModel, device: torch.device) -> bool:
    """Whether an example's loss stays when its neighbours change, and is that of the example alone."""
    way, training = packed.isolation, packed.training
    packed.eval()
    row, neighbours_changed = _probe_rows(packed._vocabulary, device)
    middle = torch.from_numpy(row.segment == 1).to(device)
    try:
        first, second = packed(row)[middle], packed(neighbours_changed)[middle]
    except UnknownAttention:
        packed.train(training)
        return False
    packed._use(Isolation.SEPARATE)
    alone = packed(row)[middle]
    packed._use(way)
    packed.train(training)
    tolerance = _tolerance(packed)
    unmoved = torch.allclose(first, second, rtol=0.0, atol=1e-5)
    return unmoved and torch.allclose(first, alone, rtol=tolerance, atol=tolerance)


def _tolerance(packed: PackedModel) -> float:
    return 1e-3 if packed.dtype == torch.float32 else 0.1


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
