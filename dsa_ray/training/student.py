"""The student: loading it for training and writing it in Hugging Face format."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any, TypeAlias

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.pytorch_utils import Conv1D

from dsa_ray.generation.tokens import load_tokenizer, with_chat_template
from dsa_ray.sections import TrainConfig
from dsa_ray.training.student_check import StudentError, check_tokenizer

Student: TypeAlias = PreTrainedModel | PeftModel

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def training_dtype(config: TrainConfig) -> torch.dtype:
    """The type of the weights in forward and backward, and of an exported model."""
    return _DTYPES[config.precision]


def load_student(path: str, config: TrainConfig) -> tuple[Student, PreTrainedTokenizerBase]:
    """Load any causal LM for training, with a fresh LoRA adapter when `lora_rank` asks for one.

    Dropout is switched off: the losses of the training pass are compared over time, and noise would be read as spread.
    A tokenizer without a padding token gets its end token for one: rows are padded, but padding is never trained on.
    One without a chat template gets the default one, on which its texts are trained, so that it is exported with it.

    Raises:
        StudentError: the tokenizer has no end token or more entries than the model; a module or library is missing.
    """
    tokenizer = with_chat_template(load_tokenizer(path))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(path, dtype=training_dtype(config), **_quantization(config))
    check_tokenizer(path, tokenizer, model.get_input_embeddings().num_embeddings)
    return prepare(model, config), tokenizer


def prepare(model: PreTrainedModel, config: TrainConfig) -> Student:
    """Make a loaded causal LM ready for training: dropout off, checkpointing, adapter.

    Raises:
        StudentError: the model has none of the modules that the adapter is for.
    """
    _switch_dropout_off(model)
    if config.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if not config.lora_rank:
        return model.train()
    if config.activation_checkpointing:
        model.enable_input_require_grads()  # else nothing in front of the first adapter asks for a gradient
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        target_modules=_targets(model, config.lora_targets),
    )
    # The adapter takes the base's type: DeepSpeed wants one type and keeps fp32 masters itself.
    return get_peft_model(model, lora, autocast_adapter_dtype=False).train()


def _targets(model: PreTrainedModel, names: tuple[str, ...]) -> str | list[str]:
    linear = nn.Linear | Conv1D
    known = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, linear)}
    missing = [name for name in names if name not in known]
    if missing:
        raise StudentError(
            f"train.lora_targets: {type(model).__name__} has no linear layer {missing[0]!r}; "
            f"it has {', '.join(sorted(known))}"
        )
    return list(names) if names else "all-linear"


def _quantization(config: TrainConfig) -> dict[str, Any]:
    """Arguments that load the frozen weights in 4 bits: NF4 with double quantisation (QLoRA, section 3)."""
    if config.quantize == "none":
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise StudentError("train.quantize: nf4 needs bitsandbytes; pip install bitsandbytes, or train.quantize=none")
    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=training_dtype(config),
    )
    return {"quantization_config": how, "device_map": {"": torch.cuda.current_device()}}


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
    _write_weights(target, folder, weights)
    if not isinstance(target, PeftModel):
        config = copy.deepcopy(target.config)  # save_pretrained wrote the type of the model, not of `weights`
        config.dtype = dtype
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # what is written is whole again
        config.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def _write_weights(target: Student, folder: str, weights: dict[str, Tensor]) -> None:
    """Write these weights, not those of a 4-bit model, which transformers would take in their place."""
    quantizer = None if isinstance(target, PeftModel) else getattr(target, "hf_quantizer", None)
    if quantizer is not None:
        target.hf_quantizer = None
    try:
        target.save_pretrained(folder, state_dict=weights)  # empties `weights` as it goes
    finally:
        if quantizer is not None:
            target.hf_quantizer = quantizer


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
    """The base's state dict with each adapter's product added, 4-bit weights unpacked; the model stays as it is."""
    layers = {f"{name}.": module for name, module in base.named_modules() if isinstance(module, LoraLayer)}
    packed = {name: module for name, module in base.named_modules() if _is_quantized(module)}
    weights = {}
    for name, tensor in base.state_dict().items():
        owner, _, extra = name.rpartition(".weight")
        if owner in packed:
            if extra:
                continue  # scales and tables of a 4-bit weight
            tensor = dequantize_module_weight(packed[owner])
        prefix, found, rest = name.partition("base_layer.")
        layer = layers.get(prefix) if found else None
        if layer is None:
            if ".lora_" not in name:
                weights[name] = _copy(tensor, dtype)
            continue
        delta = sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters) if rest == "weight" else 0
        weights[prefix + rest] = _copy(tensor.float() + delta, dtype)
    return weights


def _is_quantized(module: nn.Module) -> bool:
    return getattr(getattr(module, "weight", None), "quant_state", None) is not None


def _copy(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach()
    return tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype, copy=True)


def _switch_dropout_off(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
