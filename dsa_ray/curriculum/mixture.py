"""How much of each skill to train on next: the mixture of Skill-It (arXiv 2307.14430, Algorithm 1), as pure functions.

    A      [k, m]  transfer: what training on skill i (row) does for the loss of skill j (column)
    L(t)   [m]     validation losses of the evaluated skills, nats
    p(1)   softmax(eta * A 1)
    p(t+1) softmax(eta * A (sum of L over a window))

Training and evaluated skills are the same in continual pre-training (k = m), the evaluated ones are some of them in
fine-tuning, and none of them out of domain. A complete graph gives equal shares, an empty one (A = I) goes by a skill's
own loss; one round alone is the static mixture.

The paper and its authors' code differ in what the window holds; `Form` chooses. `paper`: of each of the last w rounds,
the losses observed before it was trained. `code`: the last w evaluations, whatever rounds they fall into; their sum,
but their mean in fine-tuning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from dsa_ray.records import SkillGraph

Form = Literal["paper", "code"]
Setting = Literal["pretraining", "finetuning", "out_of_domain"]
Reduction = Literal["sum", "mean"]

EDGE = 0.5
"""Weight of an edge that is only known to be there (the paper's, on its synthetic tasks); a skill's own weight is 1."""


class Evaluation(NamedTuple):
    """Losses of all evaluated skills at one moment."""

    round: int
    """0-based: the round during which, or before which, they were measured."""
    losses: np.ndarray
    """Nats, float64[m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureRule:
    """Everything but the data.

    Example:
        MixtureRule(eta=0.5, rounds=6, window=3)  # LEGO, as published
    """

    eta: float
    """Step size of the exponentiated update."""
    rounds: int
    """T: the mixture changes so often; with 1 it is static."""
    window: int = 3
    """w: rounds (`paper`) or evaluations (`code`) that the update looks back on."""
    form: Form = "paper"
    setting: Setting = "pretraining"
    reduction: Reduction | None = None
    """Sum or mean over the window; None is what the form does in this setting."""

    @property
    def over_window(self) -> Reduction:
        if self.reduction is not None:
            return self.reduction
        return "mean" if self.form == "code" and self.setting == "finetuning" else "sum"


def first_mixture(transfer: np.ndarray, rule: MixtureRule) -> np.ndarray:
    """Shares of the first round, float64[k]; with one round those of the whole training.

    In the authors' code a static mixture counts every skill's own weight as 1.
    """
    if rule.form == "code" and rule.rounds == 1 and transfer.shape[0] == transfer.shape[1]:
        transfer = transfer.copy()
        np.fill_diagonal(transfer, 1.0)
    return _softmax(rule.eta * transfer.sum(axis=1))


def next_mixture(transfer: np.ndarray, evaluations: Sequence[Evaluation], rule: MixtureRule) -> np.ndarray:
    """Shares of the round after the last one that was evaluated, float64[k].

    Args:
        transfer: [k, m], as `usable` leaves it.
        evaluations: in the order in which they were made; their losses complete (see `complete_losses`).
        rule: a static one returns its first mixture.
    """
    if rule.rounds == 1 or not evaluations:
        return first_mixture(transfer, rule)
    losses = np.stack(_window(evaluations, rule))
    reduced = losses.sum(axis=0) if rule.over_window == "sum" else losses.mean(axis=0)
    return _softmax(rule.eta * (transfer @ reduced))


def refitted(
    transfer: np.ndarray, rounds: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], strength: float
) -> np.ndarray:
    """The transfer weights fitted to the rounds so far, by the model behind the update: L' = L (1 - A^T p).

    Ours: least squares with the given weights as the prior, which counts as 1 / `strength` rounds.

    Args:
        transfer: the graph's weights, [k, m].
        rounds: of each, its shares [k] and the losses before and after it [m]. A loss of 0 tells nothing.
    """
    shares = np.stack([each[0] for each in rounds]) if rounds else np.zeros((0, len(transfer)))
    fitted = transfer.copy()
    for j in range(transfer.shape[1]):
        known = [place for place, (_, before, _) in enumerate(rounds) if before[j] > 0]
        if known:
            fell = np.array([1 - rounds[place][2][j] / rounds[place][1][j] for place in known])
            spread = strength * shares[known].T
            fitted[:, j] = np.linalg.solve(
                spread @ shares[known] + np.eye(len(transfer)), spread @ fell + transfer[:, j]
            )
    return fitted


def stratified(transfer: np.ndarray, setting: Setting) -> np.ndarray:
    """The baseline with equal shares: of all skills, or in fine-tuning and out of domain of those that help a target.

    Raises:
        ValueError: none does.
    """
    chosen = np.ones(len(transfer), bool) if setting == "pretraining" else (transfer > 0).any(axis=1)
    if not chosen.any():
        raise ValueError("mixture: no training skill has an edge to a target; name other targets or learn the graph")
    return chosen / chosen.sum()


def proportional(counts: Sequence[float]) -> np.ndarray:
    """The baseline that draws at random: shares as the data has them, float64[k]."""
    values = np.asarray(counts, "f8")
    return values / values.sum() if values.sum() > 0 else np.full(len(values), 1.0 / len(values))


def whole_counts(shares: np.ndarray, items: int) -> np.ndarray:
    """Items per skill that add up to `items`, int64[k]: rounded down, the rest to the last skill (authors' code)."""
    counts = np.floor(shares * items + 1e-9).astype(np.int64)
    counts[-1] += items - counts.sum()
    return counts


def transfer_of(graph: SkillGraph, trained: Sequence[str], evaluated: Sequence[str]) -> np.ndarray:
    """A of a skill graph, float64[len(trained), len(evaluated)].

    An edge has the weight that was learned for it, else `EDGE`; a skill's own weight is 1, all others are 0.

    Args:
        trained: skill ids of the rows.
        evaluated: skill ids of the columns.
    """
    weights = {(skill, skill): 1.0 for skill in evaluated}
    for edge in graph.edges:
        weights[edge.prerequisite, edge.skill] = EDGE if edge.transfer is None else edge.transfer
    return np.array([[weights.get((i, j), 0.0) for j in evaluated] for i in trained], "f8")


def usable(transfer: np.ndarray | Sequence[Sequence[float | None]], form: Form) -> tuple[np.ndarray, Counter[str]]:
    """A graph's weights as the update takes them, and how many had to be changed.

    A weight that is missing, NaN or infinite is no edge (`missing_weight`), and 1 where it is a skill's own. A negative
    one is no edge in the paper's form (there an edge is a gain) and stays in the code's; it is counted either way
    (`negative_weight`).

    Raises:
        ValueError: not a table of numbers with a row and a column at least.
    """
    try:
        weights = np.array(transfer, dtype="f8")
    except (TypeError, ValueError):
        raise ValueError("mixture: the transfer weights are no table of numbers; learn the graph again") from None
    if weights.ndim != 2 or 0 in weights.shape:
        raise ValueError(f"mixture: the transfer weights have shape {weights.shape}; [train skills, evaluated skills]")
    missing = ~np.isfinite(weights)
    own = np.eye(*weights.shape, dtype=bool) if weights.shape[0] == weights.shape[1] else np.zeros_like(missing)
    weights[missing & own], weights[missing & ~own] = 1.0, 0.0
    negative = weights < 0
    counts = Counter(missing_weight=int(missing.sum()), negative_weight=int(negative.sum()))
    if form == "paper":
        weights[negative] = 0.0
    return weights, +counts


def complete_losses(losses: Iterable[float | None]) -> tuple[np.ndarray | None, int]:
    """Losses of all skills, and how many had none: these count as the mean of the others, which neither favours nor
    starves a skill that has no held-out items. None where no loss is known.

    A loss is known if it is finite and not negative.
    """
    values = np.array([np.nan if loss is None else loss for loss in losses], "f8")
    known = np.isfinite(values) & (values >= 0)
    if not known.any():
        return None, len(values)
    return np.where(known, values, values[known].mean()), int((~known).sum())


def _window(evaluations: Sequence[Evaluation], rule: MixtureRule) -> list[np.ndarray]:
    if rule.form == "code":
        return [evaluation.losses for evaluation in evaluations[-rule.window :]]
    before: dict[int, np.ndarray] = {}
    for evaluation in evaluations:
        before.setdefault(evaluation.round, evaluation.losses)
    newest = max(before)
    return [losses for number, losses in before.items() if number > newest - rule.window]


def _softmax(exponents: np.ndarray) -> np.ndarray:
    """Normalised exp, also of large exponents (eta is 100 in one of the paper's settings)."""
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()
