"""The reference engine: plain torch, one process, no DeepSpeed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from dsa_ray.sections import TrainConfig
from dsa_ray.training.finite import finite_part
from dsa_ray.training.isolation import PackedModel
from dsa_ray.training.loop import RowResult, StepResult
from dsa_ray.training.loss import example_losses, row_loss, row_tensors
from dsa_ray.training.optimizer import adamw
from dsa_ray.training.student import Student, plain_weights, save_student, training_dtype


class TorchEngine:
    """Trains in one process, with fp32 weights; with bf16 configured, forward and backward run under autocast.

    In fp32 it is the oracle of `DeepSpeedEngine`: same losses, same weights.
    """

    def __init__(self, model: Student, config: TrainConfig, device: str = "cpu") -> None:
        self._config = config
        self._model = model.to(device)
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():  # weights of 4 bits are packed into integers
                tensor.data = tensor.data.float()
        self._device = torch.device(device)
        dtype = training_dtype(config)
        self._packed = PackedModel(self._model, autocast=None if dtype == torch.float32 else dtype).train()
        if config.compile:
            self._packed.compile_layers()
        self._scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
        self._optimizer = adamw(self._model, config)

    def train_row(self, row: Mapping[str, np.ndarray], *, last: bool) -> RowResult:
        """One forward and backward; `last` makes no difference here."""
        tensors = row_tensors(row, self._device)
        nll = self._packed(tensors)
        if self._config.non_finite == "skip":
            tensors, nll, *shown = finite_part(self._packed, tensors, nll)
        else:
            shown = example_losses(nll, tensors)
        self._scaler.scale(row_loss(nll, tensors)).backward()
        return RowResult(*shown)

    def step(self, lr: float) -> StepResult:
        self._scaler.unscale_(self._optimizer)
        trainable = [p for p in self._model.parameters() if p.requires_grad]
        grad_norm = torch.nn.utils.clip_grad_norm_(trainable, self._config.grad_clip)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        return StepResult(grad_norm=float(grad_norm))

    def save(self, folder: str, tag: str) -> None:
        target = Path(folder) / tag
        target.mkdir(parents=True, exist_ok=True)
        state = {"model": self._model.state_dict(), "optimizer": self._optimizer.state_dict()}
        torch.save(state, target / "engine.pt")
        (Path(folder) / "latest").write_text(tag)

    def load(self, folder: str, tag: str | None = None) -> None:
        tag = tag or (Path(folder) / "latest").read_text().strip()
        state = torch.load(Path(folder) / tag / "engine.pt", map_location=self._device, weights_only=True)
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    def export_hf(self, folder: str, tokenizer: PreTrainedTokenizerBase | None = None, *, merged: bool = False) -> None:
        """Write the student in Hugging Face format, in the configured precision; LoRA: its adapter, or `merged`."""
        weights = plain_weights(self._model, training_dtype(self._config), merged=merged)
        save_student(self._model, tokenizer, folder, weights, merged=merged)
