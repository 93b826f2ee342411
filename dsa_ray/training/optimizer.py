"""The optimizer, the same for every engine, so that their steps can be compared number by number."""

from __future__ import annotations

import torch
from torch import nn

from dsa_ray.sections import TrainConfig

_BETAS = (0.9, 0.95)


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the trainable weights; biases and norms (fewer than two axes) do not decay."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    used = [group for group in groups if group["params"]]  # DeepSpeed cannot flatten an empty group
    return torch.optim.AdamW(used, lr=config.learning_rate, betas=_BETAS, fused=True)
