"""The arms of the LEGO benchmark: which samples each of them trains on, step by step, and one whole run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from _lego_model import Learner, base_model
from _lego_settings import Setting

from dsa_ray.curriculum.mixing import group_phase
from dsa_ray.curriculum.mixture import (
    Evaluation,
    MixtureRule,
    first_mixture,
    next_mixture,
    proportional,
    stratified,
    whole_counts,
)
from dsa_ray.embedded.synthetics.task import Sample, Task, held_out, stream

EARLIER = 0.4
"""Share of earlier groups in a group curriculum (the paper's text; the authors' scripts have 0)."""
VALIDATION_SEED = 42


def transfer(task: Task) -> np.ndarray:
    """The published graph: 1 for a skill and itself, a half for an edge."""
    weights = np.eye(task.skills)
    for before, after in task.edges:
        weights[before - 1, after - 1] = 0.5
    return weights


class Evaluations:
    """Losses and accuracies of the held-out samples, by skill, over a run."""

    def __init__(self, setting: Setting) -> None:
        self._held = held_out(setting.task, VALIDATION_SEED)
        self.steps: list[int] = []
        self.losses: list[list[float]] = []
        self.accuracy: list[list[float]] = []

    @property
    def prompts(self) -> set[str]:
        return {sample.prompt for samples in self._held.values() for sample in samples}

    def take(self, learner: Learner, step: int) -> None:
        measured = [learner.losses(samples) for samples in self._held.values()]
        self.steps.append(step)
        self.losses.append([float(losses.mean()) for losses, _ in measured])
        self.accuracy.append([float(right.mean()) for _, right in measured])


class Source:
    """New samples by skill; none comes twice, and none is a held-out one."""

    def __init__(self, task: Task, seed: int, known: set[str]) -> None:
        self._task, self._rng = task, Random(f"train-{seed}")
        self._seen = {skill: set(known) for skill in range(1, task.skills + 1)}

    def draw(self, counts: Sequence[int]) -> list[Sample]:
        """So many of each skill, shuffled."""
        samples = [
            sample
            for skill, count in enumerate(counts, start=1)
            for sample in stream(self._task, skill, self._rng, self._seen[skill], int(count))
        ]
        self._rng.shuffle(samples)
        return samples


def run(setting: Setting, arm: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train one arm with one seed from the common base model; evaluated before the first step and after the last."""
    model, encode = base_model(setting, folder, seed=0)
    learner = Learner(setting, model, encode, setting.steps)
    kept = Evaluations(setting)
    source = Source(setting.task, seed, kept.prompts)
    kept.take(learner, 0)
    mixtures: list[list[float]] = []
    batches = arm_batches(setting, arm, learner, source, kept, mixtures)
    for step, batch in enumerate(batches, start=1):
        learner.train(batch)
        if step % setting.every == 0:
            kept.take(learner, step)
    return {
        "arm": arm,
        "seed": seed,
        "steps": kept.steps,
        "losses": kept.losses,
        "accuracy": kept.accuracy,
        "mixtures": mixtures,
    }


def arm_batches(
    setting: Setting, arm: str, learner: Learner, source: Source, kept: Evaluations, mixtures: list[list[float]]
) -> Iterator[list[Sample]]:
    """The batches of all steps. `mixtures` takes the shares of each round, where the arm has them."""
    if arm in ("curriculum", "anti-curriculum"):
        yield from _by_sample(setting, arm == "anti-curriculum", learner, source)
        return
    parts = setting.evaluations if arm in ("skill-curriculum", "skill-anti-curriculum") else setting.rounds
    for number in range(parts):
        shares = _shares(setting, arm, number, kept)
        mixtures.append(shares.tolist())
        samples = source.draw(whole_counts(shares, setting.steps // parts * setting.batch))
        yield from (samples[at : at + setting.batch] for at in range(0, len(samples), setting.batch))


def _shares(setting: Setting, arm: str, number: int, kept: Evaluations) -> np.ndarray:
    graph = transfer(setting.task)
    if arm == "random":
        return proportional(setting.task.random_shares)
    if arm == "stratified":
        return stratified(graph, "pretraining")
    if arm == "skill-it":
        rule = MixtureRule(eta=setting.eta, rounds=setting.rounds, window=setting.window, form="code")
        # the evaluation at a round's very end belongs to the next one, as in the authors' code
        before = [
            Evaluation(min(step // setting.round_steps, number), np.array(losses))
            for step, losses in zip(kept.steps, kept.losses, strict=True)
            if step < number * setting.round_steps
        ]
        return next_mixture(graph, before, rule) if number else first_mixture(graph, rule)
    first = kept.losses[0]
    order = sorted(range(len(first)), key=lambda skill: first[skill], reverse=arm == "skill-anti-curriculum")
    phase = group_phase([str(skill) for skill in order], number / setting.evaluations, EARLIER)
    return proportional([phase[str(skill)] for skill in range(len(first))])


def _by_sample(setting: Setting, hardest_first: bool, learner: Learner, source: Source) -> Iterator[list[Sample]]:
    """Sort the imbalanced pool by the base model's loss; in round u draw from its first u parts."""
    counts = whole_counts(proportional(setting.task.random_shares), setting.steps * setting.batch)
    pool = source.draw(counts)
    losses, _ = learner.losses(pool)
    order = np.argsort(losses.numpy(), kind="stable")
    order = order[::-1] if hardest_first else order
    rng = np.random.default_rng((len(pool), VALIDATION_SEED))
    part = setting.round_steps * setting.batch
    for number in range(setting.rounds):
        chosen = rng.choice(order[: (number + 1) * part], size=part, replace=False)
        samples = [pool[place] for place in chosen.tolist()]
        yield from (samples[at : at + setting.batch] for at in range(0, len(samples), setting.batch))


def summary(runs: Mapping[str, Sequence[Mapping[str, Any]]], at: float) -> dict[str, dict[str, Any]]:
    """Of every arm, at that share of the steps: mean over seeds of accuracy (per skill and all) and loss, with 95 %
    intervals (Student's t)."""
    found = {}
    for arm, results in runs.items():
        steps = results[0]["steps"]
        place = min(range(len(steps)), key=lambda index: abs(steps[index] - at * steps[-1]))
        accuracy = np.array([result["accuracy"][place] for result in results])
        losses = np.array([result["losses"][place] for result in results])
        found[arm] = {
            "accuracy": interval(accuracy.mean(axis=1)),
            "loss": interval(losses.mean(axis=1)),
            "per_skill": accuracy.mean(axis=0).round(4).tolist(),
            "seeds": len(results),
            "step": steps[place],
        }
    return found


_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""97.5 % quantiles of Student's t by degrees of freedom."""


def interval(values: np.ndarray) -> dict[str, float | None]:
    """Mean and the half-width of its 95 % interval (None for one value)."""
    count = len(values)
    half = _T.get(count - 1, 2.0) * float(values.std(ddof=1)) / count**0.5 if count > 1 else None
    return {"mean": round(float(values.mean()), 4), "half": None if half is None else round(half, 4)}
