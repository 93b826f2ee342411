"""A proxy model trained for a few steps on some skills, and what that does for the losses of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dsa_ray.sections import TrainConfig
from dsa_ray.training.optimizer import adamw
from dsa_ray.training.student import Student, load_student

Tokens = tuple[tuple[int, ...], int]
"""Token ids of an example, and how many of them at its start carry no loss."""
_IGNORED = -100
_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyPlan:
    """How every run trains.

    Example:
        ProxyPlan(model="runs/x/student", steps=150, batch=8, evaluations=3)
    """

    model: str
    """Folder of the proxy; its weights are only read."""
    steps: int
    batch: int
    """Examples per step, shared evenly by the skills of a run."""
    evaluations: int = 3
    """Over the steps, after the first one at step 0."""
    seed: int = 0


def train_proxy(
    plan: ProxyPlan,
    config: TrainConfig,
    data: tuple[Mapping[str, Sequence[Tokens]], Mapping[str, Sequence[Tokens]]],
    skills: Sequence[str],
) -> dict[str, Any]:
    """Train a fresh copy on equal shares of these skills; losses of all skills before, between and after.

    Args:
        config: learning rate, weight decay, clipping, precision.
        data: examples to train on, and held-out ones, by skill. A skill without held-out examples is left out.
        skills: of this run.

    Returns:
        {"steps": [...], "losses": {skill: [...]}}, nats per answer token.

    Raises:
        ValueError: a skill has nothing to train on.
    """
    train, held_out = data
    empty = [skill for skill in skills if not train.get(skill)]
    if empty:
        raise ValueError(f"{empty[0]}: has no exercises to train the proxy on; write some first")
    model, _ = load_student(plan.model, config)
    model.float()
    optimizer, rng = adamw(model, config), np.random.default_rng((plan.seed, len(skills)))
    every = max(1, plan.steps // plan.evaluations)
    steps, losses = [0], {skill: [_loss(model, items)] for skill, items in held_out.items() if items}
    for step in range(1, plan.steps + 1):
        chosen = [skills[place % len(skills)] for place in range(max(plan.batch, len(skills)))]
        batch = [train[skill][int(rng.integers(len(train[skill])))] for skill in chosen]
        _nll(model, batch).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % every == 0 or step == plan.steps:
            steps.append(step)
            for skill, found in losses.items():
                found.append(_loss(model, held_out[skill]))
    return {"steps": steps, "losses": losses}


@torch.no_grad()
def _loss(model: Student, items: Sequence[Tokens]) -> float:
    return float(torch.cat([_nll(model, items[at : at + _BATCH]) for at in range(0, len(items), _BATCH)]).mean())


def _nll(model: Student, items: Sequence[Tokens]) -> Tensor:
    """Cross-entropy of every answer token, in a row."""
    width = max(len(ids) for ids, _ in items)
    ids = torch.zeros(len(items), width, dtype=torch.long)
    labels = torch.full((len(items), width), _IGNORED)
    for row, (tokens, prompt) in enumerate(items):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, prompt : len(tokens)] = ids[row, prompt : len(tokens)]
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    targets = labels[:, 1:]
    chosen = targets != _IGNORED
    return functional.cross_entropy(logits[chosen].float(), targets[chosen], reduction="none")
