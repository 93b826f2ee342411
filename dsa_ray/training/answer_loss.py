"""The loss of given answers under a model as it is: nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM

MOST_TOKENS = 2048
"""Tokens of one batch, padding included."""


@torch.inference_mode()
def answer_losses(model: str, examples: Sequence[tuple[Sequence[int], int]], device: str = "cpu") -> list[float]:
    """Mean cross-entropy of each example's answer, nats per token, in the order given.

    Args:
        model: folder or Hugging Face name.
        examples: (token ids, how many of them are the prompt's) pairs; each has an answer of at least one token.
        device: where to compute.
    """
    network = (
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32 if device == "cpu" else "auto")
        .to(device)
        .eval()
    )
    losses = [0.0] * len(examples)
    for batch in _batches([len(ids) for ids, _ in examples]):
        width = max(len(examples[index][0]) for index in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        seen = torch.zeros(len(batch), width, dtype=torch.long)
        for row, index in enumerate(batch):
            length = len(examples[index][0])
            ids[row, :length] = torch.tensor(examples[index][0])
            seen[row, :length] = 1
        logits = network(input_ids=ids.to(device), attention_mask=seen.to(device), use_cache=False).logits
        nll = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), ids[:, 1:].to(device), reduction="none"
        )
        for row, index in enumerate(batch):
            tokens, prompt = examples[index]
            losses[index] = float(nll[row, max(1, prompt) - 1 : len(tokens) - 1].mean())
    return losses


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of examples of like length."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= MOST_TOKENS:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
