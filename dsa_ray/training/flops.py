"""How much arithmetic training takes, and which share of a GPU's peak that is (MFU; PaLM, 2022, appendix B)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from dsa_ray.sections import TrainConfig

_PEAK_TFLOPS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "H800": 989.0,
    "A100": 312.0,
    "A800": 312.0,
    "B200": 2250.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "4090": 165.0,
}
"""Dense bf16 peaks out of the makers' data sheets, by a part of the card's name; the first that fits counts."""


def training_flops(model: nn.Module, config: PreTrainedConfig, segments: Iterable[int]) -> float:
    """Operations of one forward and backward over segments of these lengths, causal attention inside each.

    Six per weight and token, embeddings counted once where they are the output layer too, plus 6 * layers * width *
    length squared of attention per segment (half of the full square, since it is causal).
    """
    lengths = list(segments)
    embedding = model.get_input_embeddings().weight
    output = model.get_output_embeddings()
    tied = output is not None and output.weight is embedding
    weights = sum(parameter.numel() for parameter in model.parameters()) - (0 if tied else embedding.numel())
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 6.0 * config.num_hidden_layers * config.num_attention_heads * head
    return 6.0 * weights * sum(lengths) + attention * sum(length * length for length in lengths)


def peak_tokens_per_s(model: PreTrainedModel, config: TrainConfig, device: torch.device) -> float | None:
    """Tokens per second at which training would use the device's whole peak, or `train.peak_tflops`.

    Two operations per weight and token forward, two for the gradient of what goes into it, and two for its own gradient
    where it is trained (an adapter's base is not). None where the peak is not known: other devices, 32 bits.
    """
    known = peak_flops(device) if config.precision != "fp32" else None
    peak = known if config.peak_tflops is None else config.peak_tflops * 1e12
    if peak is None:
        return None
    return peak / (4.0 * model.num_parameters() + 2.0 * model.num_parameters(only_trainable=True))


def peak_flops(device: torch.device) -> float | None:
    """Dense 16-bit peak of this device per second; None where it is not known (a CPU, an unlisted card)."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak * 1e12 for part, peak in _PEAK_TFLOPS.items() if part in name), None)
