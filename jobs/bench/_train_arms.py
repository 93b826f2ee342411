"""The ways to train that are compared: each takes a number of steps and gives the tokens that it trained.

    stream  our trainer: rows out of a process of their own, loss per example, the training loop's reports
    silent  the same trainer and the same kind of rows, without loss per example and without reports
    bare    the same forward in a plain loop over tensors in memory, no statistics
    plain   the model as transformers runs it, in the same plain loop

`bare` and `plain` use DeepSpeed where it is, else plain torch, as `stream` does.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any, Protocol
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from dsa_ray.sections import TrainConfig
from dsa_ray.training.collate import Row
from dsa_ray.training.isolation import PackedModel
from dsa_ray.training.loop import StepReport, run_rank
from dsa_ray.training.loss import RowTensors, row_loss, row_tensors
from dsa_ray.training.optimizer import adamw
from dsa_ray.training.student import prepare, training_dtype
from dsa_ray.training.torch_engine import TorchEngine

HAS_DEEPSPEED = importlib.util.find_spec("deepspeed") is not None


def _llama(vocabulary: int, hidden: int, inner: int, layers: int, heads: int) -> Callable[[], PreTrainedModel]:
    def build() -> PreTrainedModel:
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=hidden,
                intermediate_size=inner,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                max_position_embeddings=8192,
                tie_word_embeddings=True,
            )
        )

    return build


def _qwen3_06b() -> PreTrainedModel:
    """The shape of Qwen3-0.6B, random weights."""
    torch.manual_seed(0)
    shape = Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(shape)


SHAPES: dict[str, Callable[[], PreTrainedModel]] = {
    "3M": _llama(4096, 192, 512, 5, 6),
    "20M": _llama(8192, 384, 1024, 9, 6),
    "130M": _llama(32_000, 768, 2048, 15, 12),
    "qwen3-0.6b": _qwen3_06b,
}


class Arm(Protocol):
    def run(self, steps: int) -> int:
        """Train so many steps; returns the non-pad tokens of this rank."""


class StreamArm:
    """Our trainer, fed by the iterator `rows`."""

    def __init__(
        self, model: PreTrainedModel, config: TrainConfig, rows: Iterator[Row], world: int, device: str
    ) -> None:
        self.engine = engine(prepare(model, config), config, world, device)
        self.config, self.rows = config, rows
        self.reports: list[StepReport] = []

    def run(self, steps: int) -> int:
        count = len(self.reports)
        wanted = islice(self.rows, steps * self.config.rows_per_step)
        run_rank(self.engine, wanted, self.config.rows_per_step, self.reports.append, self.config)
        return sum(report.tokens for report in self.reports[count:])


class SilentArm(StreamArm):
    """Our trainer with its loss statistics off."""

    def run(self, steps: int) -> int:
        nothing = np.zeros(0), np.zeros(0, np.int64)
        tokens = 0
        with patch.object(sys.modules[type(self.engine).__module__], "example_losses", lambda nll, row: nothing):
            for _ in range(steps):
                batch = list(islice(self.rows, self.config.rows_per_step))
                for row in batch:
                    self.engine.train_row(row, last=row is batch[-1])
                    tokens += int((row["segment"] >= 0).sum())
                self.engine.step(self.config.learning_rate)
        return tokens


class LoopArm:
    """A plain loop over tensors in memory; `as_transformers_runs_it` leaves packing to transformers."""

    def __init__(
        self,
        model: PreTrainedModel,
        config: TrainConfig,
        rows: Sequence[Row],
        device: str,
        *,
        as_transformers_runs_it: bool,
    ) -> None:
        model = prepare(model, config)
        dtype = training_dtype(config)
        model = model.to(dtype if HAS_DEEPSPEED else torch.float32).to(device)
        autocast = None if HAS_DEEPSPEED or dtype == torch.float32 else dtype
        wrap = _AsTransformersRunsIt if as_transformers_runs_it else PackedModel
        module = wrap(model, autocast=autocast)
        self._step = _deepspeed_step(module, model, config) if HAS_DEEPSPEED else _torch_step(module, model, config)
        tensors = [row_tensors(row, device) for row in rows]
        self._tokens = cycle([tensor.input_ids.shape[1] for tensor in tensors])
        self._inputs = cycle(tensors)
        self._rows_per_step = config.rows_per_step

    def run(self, steps: int) -> int:
        for _ in range(steps):
            self._step([next(self._inputs) for _ in range(self._rows_per_step)])
        return sum(next(self._tokens) for _ in range(steps * self._rows_per_step))


class _AsTransformersRunsIt(nn.Module):
    """nll of all tokens that carry loss, by the model's own mask and full logits."""

    def __init__(self, model: PreTrainedModel, *, autocast: torch.dtype | None) -> None:
        super().__init__()
        self.model, self._autocast = model.train(), autocast

    def forward(self, row: RowTensors) -> Tensor:
        with torch.autocast(row.input_ids.device.type, self._autocast, enabled=self._autocast is not None):
            output = self.model(
                input_ids=row.input_ids, position_ids=row.position_ids, use_cache=False, logits_to_keep=row.where
            )
        return nn.functional.cross_entropy(output.logits[0].float(), row.targets, reduction="none")


def engine(model: PreTrainedModel, config: TrainConfig, world: int, device: str) -> Any:
    """The product's engine: DeepSpeed where it is, else plain torch."""
    if not HAS_DEEPSPEED:
        return TorchEngine(model, config, device)
    from dsa_ray.engines.deepspeed_engine import DeepSpeedEngine

    return DeepSpeedEngine(model, config, world)


def _deepspeed_step(module: nn.Module, model: PreTrainedModel, config: TrainConfig) -> Callable[..., None]:
    from dsa_ray.engines.deepspeed_engine import deepspeed_config  # sets DeepSpeed's accelerator up at import

    import deepspeed  # isort: skip

    runner, *_ = deepspeed.initialize(
        model=module, optimizer=adamw(model, config), config=deepspeed_config(config, model.num_parameters())
    )
    world = torch.distributed.get_world_size()

    def step(rows: Sequence[RowTensors]) -> None:
        for index, row in enumerate(rows):
            runner.set_gradient_accumulation_boundary(index == len(rows) - 1)
            runner.backward(row_loss(runner(row), row) * world, scale_wrt_gas=False)
            runner.step()

    return step


def _torch_step(module: nn.Module, model: PreTrainedModel, config: TrainConfig) -> Callable[..., None]:
    optimizer = adamw(model, config)
    weights = list(model.parameters())

    def step(rows: Sequence[RowTensors]) -> None:
        for row in rows:
            row_loss(module(row), row).backward()
        nn.utils.clip_grad_norm_(weights, config.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
