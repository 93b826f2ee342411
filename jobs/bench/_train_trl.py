"""TRL's SFTTrainer on the same texts, with packing; our steps run in between its steps, on the same machine."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from _train_text import Text
from transformers import AutoTokenizer, PreTrainedModel, TrainerCallback

from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.sections import TrainConfig

MISSING = [name for name in ("trl", "datasets", "accelerate") if importlib.util.find_spec(name) is None]
"""What TRL needs and is not here; it is optional."""


def pairs_with_trl(
    model: PreTrainedModel,
    config: TrainConfig,
    texts: Sequence[Text],
    tokenizer: str,
    ours: Callable[[int], tuple[int, float]],
    *,
    pairs: int,
    steps: int,
    all_tokens: bool,
) -> list[tuple[float, float]]:
    """Tokens per second (ours, TRL) of every pair, the first pair left out: it warms up.

    Args:
        ours: trains so many steps; gives tokens and seconds.
        steps: steps of each in a pair.
    """
    from trl import SFTConfig, SFTTrainer

    class Counting(SFTTrainer):
        """Counts the tokens that are no padding."""

        tokens = 0

        def training_step(self, model: Any, inputs: dict[str, Any], *arguments: Any) -> Any:
            mask = inputs.get("attention_mask")
            self.tokens += int(inputs["input_ids"].numel() if mask is None else mask.sum())
            return super().training_step(model, inputs, *arguments)

    for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE"):  # else it would wrap its one process for several
        os.environ.pop(name, None)
    on_cpu = not torch.cuda.is_available()
    interleave = _Interleave(ours, steps)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder,
            packing=True,
            max_length=config.row_tokens,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=config.rows_per_step,
            max_steps=(pairs + 1) * steps,
            bf16=config.precision == "bf16",
            use_cpu=on_cpu,
            gradient_checkpointing=False,  # ours does without it too
            max_grad_norm=config.grad_clip,
            optim="adamw_torch_fused",
            learning_rate=config.learning_rate,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            completion_only_loss=not all_tokens,
            disable_tqdm=True,
            dataset_num_proc=None,
        )
        trainer = Counting(
            model=model,
            args=arguments,
            train_dataset=_dataset(texts, tokenizer, all_tokens),
            processing_class=AutoTokenizer.from_pretrained(tokenizer),
            callbacks=[interleave],
        )
        interleave.count = lambda: trainer.tokens
        trainer.log = lambda *_, **__: None  # its lines are not ours to print
        trainer.train()
    return interleave.pairs[1:]


class _Interleave(TrainerCallback):
    """After every `steps` steps of TRL, as many of ours."""

    def __init__(self, ours: Callable[[int], tuple[int, float]], steps: int) -> None:
        self._ours, self._steps = ours, steps
        self.count: Callable[[], int] = lambda: 0
        self.pairs: list[tuple[float, float]] = []
        self._tokens = 0
        self._started = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._steps:
            return
        synchronize()
        seconds, tokens = time.perf_counter() - self._started, self.count() - self._tokens
        our_tokens, our_seconds = self._ours(self._steps)
        self.pairs.append((our_tokens / our_seconds, tokens / seconds))
        self._start()

    def _start(self) -> None:
        self._tokens, self._started = self.count(), time.perf_counter()


def synchronize() -> None:
    """Wait for the GPU, where there is one: a clock read before it is done tells nothing."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _dataset(texts: Sequence[Text], tokenizer: str, all_tokens: bool) -> Any:
    """The same ids as ours, and loss on the same tokens."""
    from datasets import Dataset

    student = StudentTokenizer(tokenizer)
    encoded = [student.encode_exercise(text.question, text.solution, text.answer) for text in texts]
    columns: dict[str, list[Any]] = {"input_ids": [list(ids) for ids, _ in encoded]}
    if not all_tokens:
        columns["completion_mask"] = [[0] * prompt + [1] * (len(ids) - prompt) for ids, prompt in encoded]
    return Dataset.from_dict(columns)
