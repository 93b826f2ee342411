"""The student: loading it for training and writing it in Hugging Face format."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TypeAlias

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from dsa_ray.config import TrainConfig

Student: TypeAlias = PreTrainedModel | PeftModel

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def training_dtype(config: TrainConfig) -> torch.dtype:
    """The type of the weights in forward and backward, and of an exported model."""
    return _DTYPES[config.precision]


def load_student(path: str, config: TrainConfig) -> tuple[Student, PreTrainedTokenizerBase]:
    """Load any causal LM for training, with a fresh LoRA adapter when `lora_rank` asks for one.

    Dropout is switched off: the losses of the training pass are compared over time, and noise would be read as spread.
    """
    model = AutoModelForCausalLM.from_pretrained(path, dtype=training_dtype(config))
    tokenizer = AutoTokenizer.from_pretrained(path)
    return prepare(model, config), tokenizer


def prepare(model: PreTrainedModel, config: TrainConfig) -> Student:
    """Make a loaded causal LM ready for training: dropout off, checkpointing, adapter."""
    _switch_dropout_off(model)
    if config.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if not config.lora_rank:
        return model.train()
    if config.activation_checkpointing:
        model.enable_input_require_grads()  # else nothing in front of the first adapter asks for a gradient
    lora = LoraConfig(r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules="all-linear")
    # The adapter takes the base's type: DeepSpeed wants one type and keeps fp32 masters itself.
    return get_peft_model(model, lora, autocast_adapter_dtype=False).train()


def save_student(
    model: Student, tokenizer: PreTrainedTokenizerBase | None, folder: str, weights: dict[str, Tensor], *, merged: bool
) -> None:
    """Write a model (or an adapter) and its tokenizer so that transformers and vLLM load them.

    Args:
        weights: name to tensor, as `plain_weights` gives them.
        merged: with LoRA, `weights` are those of the base with the adapter folded in, not the adapter's.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    target = model.get_base_model() if isinstance(model, PeftModel) and merged else model
    dtype = next(iter(weights.values())).dtype
    target.save_pretrained(folder, state_dict=weights)  # empties `weights` as it goes
    if not isinstance(target, PeftModel):
        config = copy.deepcopy(target.config)  # save_pretrained wrote the type of the model, not of `weights`
        config.dtype = dtype
        config.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def plain_weights(model: Student, dtype: torch.dtype, *, merged: bool) -> dict[str, Tensor]:
    """Copies of the weights on the host, in `dtype`; a LoRA adapter folded into its base when `merged`."""
    if isinstance(model, PeftModel) and merged:
        return _merged_weights(model.get_base_model(), dtype)
    copies: dict[tuple[int, torch.Size], Tensor] = {}  # tied weights stay tied, so that they are written once
    weights = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        weights[name] = copies[key] if key in copies else copies.setdefault(key, _copy(tensor, dtype))
    return weights


def _merged_weights(base: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """The base's state dict with each adapter's product added; the model itself stays as it is."""
    layers = {f"{name}.": module for name, module in base.named_modules() if isinstance(module, LoraLayer)}
    weights = {}
    for name, tensor in base.state_dict().items():
        prefix, found, rest = name.partition("base_layer.")
        layer = layers.get(prefix) if found else None
        if layer is None:
            if ".lora_" not in name:
                weights[name] = _copy(tensor, dtype)
            continue
        delta = sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters) if rest == "weight" else 0
        weights[prefix + rest] = _copy(tensor.float() + delta, dtype)
    return weights


def _copy(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach()
    return tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype, copy=True)


def _switch_dropout_off(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
