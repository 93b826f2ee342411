"""A small Llama and its training: plain torch on a CPU, exact token mean of the answers' cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dsa_ray.embedded.recipe.corpus import Example

IGNORED = -100
POOL_BATCHES = 24
"""Batches that are cut from one pool sorted by length, so that little is padded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size of a model. Head size is `hidden // heads`."""

    hidden: int
    layers: int
    heads: int
    inner: int
    max_tokens: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast: linear warm-up, then a cosine to `final_share` of the peak."""

    steps: int
    tokens_per_step: int
    learning_rate: float = 3e-3
    """Peak for AdamW: embeddings and norms."""
    matrix_rate: float = 0.02
    """Peak for Muon: the weight matrices. It learns in a third of the steps that AdamW alone needs here."""
    weight_decay: float = 0.1
    """Of the weight matrices."""
    warmup_steps: int = 50
    final_share: float = 0.03

    def rate(self, step: int) -> float:
        """Share of the peak rates at a 0-based step."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids; the first `prompt` of them carry no loss."""

    ids: list[int]
    prompt: int


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A model with random weights, embeddings tied."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.max_tokens,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, example: Example) -> Encoded:
    """Prompt by the chat template, then the answer and the end token. Plain text starts with the begin token."""
    answer = [*tokenizer.encode(example.answer, add_special_tokens=False), tokenizer.eos_token_id]
    if not example.prompt:
        return Encoded([tokenizer.bos_token_id, *answer], 1)
    text = tokenizer.apply_chat_template(example.prompt, add_generation_prompt=True, tokenize=False)
    prompt = tokenizer.encode(text, add_special_tokens=False)
    return Encoded(prompt + answer, len(prompt))


def batches(examples: Iterator[Encoded], tokens: int, rng: Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Padded batches (ids, labels), [examples, longest] each, of at most `tokens` tokens."""
    mean_length = 80.0
    while True:
        pool = sorted(islice(examples, int(POOL_BATCHES * tokens / mean_length)), key=lambda item: len(item.ids))
        mean_length = sum(len(item.ids) for item in pool) / len(pool)
        cut: list[list[Encoded]] = [[]]
        for item in pool:
            if (len(cut[-1]) + 1) * len(item.ids) > tokens and cut[-1]:
                cut.append([])
            cut[-1].append(item)
        rng.shuffle(cut)
        yield from map(_padded, cut)


def answer_loss(model: LlamaForCausalLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labels; logits only where there is one."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    targets = labels[:, 1:]
    chosen = targets != IGNORED
    logits = model.lm_head(hidden[:, :-1][chosen])
    return functional.cross_entropy(logits.float(), targets[chosen])


def train(
    model: LlamaForCausalLM,
    data: Iterator[tuple[Tensor, Tensor]],
    schedule: Schedule,
    report: Callable[[int, float], None],
) -> None:
    """Train in place, on the model's device; `report(step, loss)` after every step."""
    optimizers = _optimizers(model, schedule)
    device = model.device
    model.train()
    for step, (ids, labels) in enumerate(islice(data, schedule.steps)):
        for optimizer, peak in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * schedule.rate(step)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = answer_loss(model, ids.to(device), labels.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        report(step, loss.item())
    model.eval()


def _optimizers(model: LlamaForCausalLM, schedule: Schedule) -> list[tuple[Optimizer, float]]:
    """Muon for the matrices inside the layers, AdamW for the rest, each with its peak rate."""
    matrices = [parameter for parameter in model.model.layers.parameters() if parameter.dim() == 2]
    inside = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    muon = torch.optim.Muon(matrices, lr=schedule.matrix_rate, weight_decay=schedule.weight_decay)
    adam = torch.optim.AdamW(rest, lr=schedule.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    return [(muon, schedule.matrix_rate), (adam, schedule.learning_rate)]


def _padded(items: list[Encoded]) -> tuple[Tensor, Tensor]:
    width = max(len(item.ids) for item in items)
    ids = torch.zeros(len(items), width, dtype=torch.long)
    labels = torch.full((len(items), width), IGNORED)
    for row, item in enumerate(items):
        ids[row, : len(item.ids)] = torch.tensor(item.ids)
        labels[row, item.prompt : len(item.ids)] = ids[row, item.prompt : len(item.ids)]
    return ids, labels
