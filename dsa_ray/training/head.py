"""The output layer and its loss in one, so that the logits of a row with a large vocabulary never exist at once.

A model whose logits are just what its output layer gives is made to return the negative log-likelihood instead of
them, piece by piece, forward and backward. What it computes is the plain cross-entropy; the gradient of the weight is
summed up in fp32. Models that change their logits afterwards (soft caps, scales) are left as they are: `PackedModel`
looks whether both ways agree.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ChunkedHead:
    """Gives an output layer a second way to run: asked with `targets`, it returns their nll.

    Args:
        layer: the model's output layer; its `forward` is replaced on this object alone.
    """

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer
        self._plain = layer.forward
        self._targets: Tensor | None = None
        self._rows = 0
        layer.forward = self._forward  # type: ignore[method-assign]  # modules' hooks (ZeRO 3) still run around it

    def ask(self, targets: Tensor, rows: int) -> None:
        """The next forward returns [1, P, 1]: nll in nats of targets int64[P], `rows` positions at a time."""
        self._targets, self._rows = targets, rows

    def _forward(self, hidden: Tensor) -> Tensor:
        targets, self._targets = self._targets, None
        if targets is None:
            return self._plain(hidden)
        nll = linear_nll(hidden[0], self._layer.weight, self._layer.bias, targets, self._rows)
        return nll[None, :, None]


def chunkable(layer: object) -> bool:
    """Whether an output layer is a plain linear map: no adapter, no quantised weight, not wrapped by others."""
    return type(layer) is nn.Linear and "forward" not in vars(layer)


def linear_nll(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rows: int) -> Tensor:
    """Negative log-likelihood of each target, float32[P], with logits = hidden @ weight.T + bias.

    Args:
        hidden: [P, H].
        weight: [V, H]; bias: [V] or none.
        targets: int64[P].
        rows: positions whose logits exist at one time.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    bias = bias if bias is None else bias.to(dtype)
    return _LinearNll.apply(hidden.to(dtype), weight.to(dtype), bias, targets, rows)


class _LinearNll(torch.autograd.Function):
    """Keeps the hidden states and one number per position; backward makes the logits of each piece again."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rows: int) -> Tensor:
        norms, nll = [], []
        for part, wanted in zip(hidden.split(rows), targets.split(rows), strict=True):
            logits = _logits(part, weight, bias)
            norms.append(torch.logsumexp(logits, dim=1))
            nll.append(norms[-1] - logits.gather(1, wanted[:, None])[:, 0])
        norm = torch.cat(norms)
        ctx.save_for_backward(hidden, weight, bias, targets, norm)
        ctx.rows = rows
        return torch.cat(nll)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        hidden, weight, bias, targets, norm = ctx.saved_tensors
        to_hidden, to_weight, to_bias, *_ = ctx.needs_input_grad
        hidden_grad = torch.empty_like(hidden) if to_hidden else None
        weight_grad = torch.zeros_like(weight, dtype=torch.float32) if to_weight else None
        bias_grad = torch.zeros_like(bias, dtype=torch.float32) if to_bias else None
        for start in range(0, len(targets), ctx.rows):
            piece = slice(start, start + ctx.rows)
            part = hidden[piece]
            share = _logits(part, weight, bias).sub_(norm[piece, None]).exp_()
            share.scatter_add_(1, targets[piece, None], share.new_full((len(part), 1), -1.0))
            share = share.mul_(grad[piece, None]).to(hidden.dtype)
            if hidden_grad is not None:
                torch.mm(share, weight, out=hidden_grad[piece])
            if weight_grad is not None:
                weight_grad += share.t() @ part
            if bias_grad is not None:
                bias_grad += share.sum(0, dtype=torch.float32)
        return hidden_grad, _as(weight_grad, weight), _as(bias_grad, bias), None, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = (hidden @ weight.t()).float()
    return logits if bias is None else logits.add_(bias)


def _as(gradient: Tensor | None, like: Tensor | None) -> Tensor | None:
    return None if gradient is None or like is None else gradient.to(like.dtype)
