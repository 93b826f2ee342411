"""Attention inside the examples of a packed row, as attention functions that transformers calls by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

SEGMENTS = "dsa_segments"
VARLEN = "dsa_varlen"
_LARGEST_HEAD = 256
"""Largest head that torch's flash kernels take."""
_GROUPED = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
"""torch 2.11 shares keys among queries unasked; later versions want to be told."""


class UnknownAttention(Exception):
    """A model whose attention is more than a softmax of scaled products: these functions would leave a part out."""


def varlen_runs(config: PreTrainedConfig, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch's variable-length flash kernels take this model: a GPU from Ampere on, 16 bits, usual heads."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    fits = dtype in (torch.bfloat16, torch.float16) and head <= _LARGEST_HEAD
    return fits and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segment_bounds: tuple[tuple[int, int], ...] = (),
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each of the bounds; query, key and value are [1, heads, T, head size].

    Raises:
        UnknownAttention: the model caps its scores or has attention sinks.
    """
    _refuse_extras(kwargs)
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


def varlen_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    segment_starts: Tensor | None = None,
    longest_segment: int = 0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside segments in one kernel; query, key and value are [1, heads, T, head size].

    Args:
        segment_starts: int32[segments + 1], where each segment starts and the last one ends; none: all is one.
        longest_segment: tokens.

    Raises:
        UnknownAttention: the model caps its scores or has attention sinks.
    """
    _refuse_extras(kwargs)
    dtype = value.dtype
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
    if segment_starts is None:
        longest_segment = query.shape[2]
        segment_starts = torch.tensor([0, longest_segment], dtype=torch.int32, device=query.device)
    query, key, value = (tensor[0].transpose(0, 1).to(dtype) for tensor in (query, key, value))
    window = (sliding_window - 1, 0) if sliding_window else (-1, 0)
    starts, longest = (segment_starts, segment_starts), (longest_segment, longest_segment)
    out = varlen_attn(query, key, value, *starts, *longest, scale=scaling, window_size=window, **_GROUPED)
    return out[None], None


def _refuse_extras(kwargs: Mapping[str, Any]) -> None:
    """transformers gives such extras by name (Gemma-2, GPT-OSS), and torch's attention knows none of them."""
    for name in ("softcap", "s_aux"):
        if kwargs.get(name) is not None:
            raise UnknownAttention(f"attention with {name}")


def _window_mask(length: int, window: int, device: torch.device) -> Tensor:
    at = torch.arange(length, device=device)
    distance = at[:, None] - at[None, :]
    return ((distance >= 0) & (distance < window))[None, None]


for _name, _function in ((SEGMENTS, segment_attention), (VARLEN, varlen_attention)):
    AttentionInterface.register(_name, _function)
    AttentionMaskInterface.register(_name, lambda *args, **kwargs: None)
