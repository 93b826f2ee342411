"""A skill graph from data: which skills help which, by how a proxy model's losses fall (Skill-It, arXiv 2307.14430).

    pairs    Algorithm 2: train on i and j together, on j alone; O(k^2) runs
    single   Algorithm 3: train on i, look at all j; O(k) runs, the only way where the targets are not trained

Runs themselves are made elsewhere; here is which ones, and what their losses say.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dsa_ray.records import Edge, SkillGraph
from dsa_ray.skills.cycles import resolve
from dsa_ray.skills.graph import build

Method = Literal["pairs", "single"]
Rule = Literal["gain", "threshold"]

DATA = "data"
"""Source of an edge that only the data proposes."""
LEARNED_LOSS = 0.01
"""Nats below which a skill counts as learned (the paper's, on its synthetic tasks)."""
EDGE = 0.5
"""Weight of an edge by the rule `threshold`, as published."""
Pair = tuple[str, str]
"""(training skill, evaluated skill)."""


@dataclass(frozen=True, slots=True)
class ProxyRun:
    """One training of the proxy on equal shares of some skills."""

    skills: tuple[str, ...]

    @property
    def name(self) -> str:
        """A short name fit for a file, whatever the skills are called."""
        return hashlib.blake2b("\n".join(self.skills).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Validation losses of a run, nats, by skill, at the same steps each; the first is the untrained model's."""

    steps: tuple[int, ...]
    by_skill: Mapping[str, tuple[float, ...]]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Losses:
        return cls(
            steps=tuple(row["steps"]), by_skill={skill: tuple(losses) for skill, losses in row["losses"].items()}
        )

    def drop(self, skill: str) -> float | None:
        """How far the skill's loss fell; None if it was not measured, or is not finite."""
        losses = self.by_skill.get(skill, ())
        if len(losses) < 2 or not (math.isfinite(losses[0]) and math.isfinite(losses[-1])):
            return None
        return losses[0] - losses[-1]

    def learned_at(self, skill: str) -> float:
        """The first step at which the skill is learned; infinite if never."""
        losses = self.by_skill.get(skill, ())
        return next((step for step, loss in zip(self.steps, losses, strict=False) if loss <= LEARNED_LOSS), math.inf)


def proxy_runs(trained: Sequence[str], method: Method) -> list[ProxyRun]:
    """The runs that a method needs: one per skill, and for `pairs` one per pair of skills too."""
    runs = [ProxyRun((skill,)) for skill in trained]
    if method == "pairs":
        runs += [ProxyRun(pair) for pair in itertools.combinations(trained, 2)]
    return runs


def transfer(
    losses: Mapping[tuple[str, ...], Losses], trained: Sequence[str], evaluated: Sequence[str], rule: Rule = "gain"
) -> tuple[dict[Pair, float], Counter[str]]:
    """What each training skill does for each other evaluated one, and counts of what could not be told.

    `gain`: the loss drop of j with i minus that without (`pairs`), or from i alone (`single`); above 0 it is an edge.
    `threshold`: a half if j is learned in fewer steps with i than alone, or if i alone lowers its loss; else 0.

    Args:
        losses: of the runs that were made, by their skills. Where there are no pairs, the runs are read as `single`.

    Returns:
        Weights, and `not_measured`: pairs left out because a run is missing or its losses are not finite.
    """
    pairs = any(len(skills) > 1 for skills in losses)
    weights: dict[Pair, float] = {}
    counts: Counter[str] = Counter()
    for i, j in itertools.product(trained, evaluated):
        if i == j:
            continue
        single, alone = losses.get((i,)), losses.get((j,))
        both = (losses.get((i, j)) or losses.get((j, i))) if pairs else None
        weight = _gain(j, single, alone, both, pairs) if rule == "gain" else _threshold(j, single, alone, both)
        if weight is None:
            counts["not_measured"] += 1
        else:
            weights[i, j] = weight
    return weights, counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A graph beside what the data says of it."""

    confirmed: tuple[Pair, ...] = ()
    """Proposed, and found."""
    doubted: tuple[Pair, ...] = ()
    """Proposed, measured, and not found."""
    found: tuple[Pair, ...] = ()
    """Found, and not proposed."""
    contrary: tuple[Pair, ...] = ()
    """Found, but they would close a cycle with edges that count for more: not in the graph."""
    unmeasured: int = 0
    """Proposed, and not measured."""

    def lines(self, weights: Mapping[Pair, float]) -> list[str]:
        """For people: = confirmed, ? doubted, + found, ! contrary, each with its weight."""
        marks = (("=", self.confirmed), ("?", self.doubted), ("+", self.found), ("!", self.contrary))
        lines = [f"{mark} {i} -> {j} ({weights[i, j]:+.3f})" for mark, pairs in marks for i, j in pairs]
        told = ((len(pairs), name) for (_, pairs), name in zip(marks, _NAMES, strict=True))
        return [*lines, ", ".join(f"{count} {name}" for count, name in told) + f", {self.unmeasured} not measured"]


_NAMES = ("confirmed", "not borne out", "found in the data alone", "contrary to the graph")


def with_learned(
    graph: SkillGraph, weights: Mapping[Pair, float], least: float = 0.0, generator: str = ""
) -> tuple[SkillGraph, Disagreement]:
    """The graph with the weights on its edges, and the data's own edges beside them.

    No proposed edge is taken out: the data only doubts it. The strongest of the data's edges come first where they
    contradict each other, and all of them give way to the proposed ones.

    Args:
        least: a weight above this is an edge.
        generator: what measured them, kept with the data's edges.
    """
    known = {skill.id for skill in graph.skills}
    proposed = {(edge.prerequisite, edge.skill) for edge in graph.edges}
    edges = [dataclasses.replace(edge, transfer=weights.get((edge.prerequisite, edge.skill))) for edge in graph.edges]
    ranked = sorted((pair for pair, weight in weights.items() if weight > least), key=lambda pair: -weights[pair])
    fresh = [pair for pair in ranked if pair not in proposed and known.issuperset(pair)]
    edges += [Edge(prerequisite=i, skill=j, source=DATA, generator=generator, transfer=weights[i, j]) for i, j in fresh]
    strong = [edge if edge.source == DATA else dataclasses.replace(edge, source="hand") for edge in edges]
    kept = {(edge.prerequisite, edge.skill) for edge in resolve(strong)[0]}
    merged = build(graph.target, graph.skills, [e for e in edges if (e.prerequisite, e.skill) in kept])
    measured = [pair for pair in sorted(proposed) if pair in weights]
    return merged, Disagreement(
        confirmed=tuple(pair for pair in measured if weights[pair] > least),
        doubted=tuple(pair for pair in measured if weights[pair] <= least),
        found=tuple(pair for pair in fresh if pair in kept),
        contrary=tuple(pair for pair in fresh if pair not in kept),
        unmeasured=len(proposed) - len(measured),
    )


def _gain(j: str, single: Losses | None, alone: Losses | None, both: Losses | None, pairs: bool) -> float | None:
    if not pairs:
        return single.drop(j) if single else None
    with_i = both.drop(j) if both else None
    without = alone.drop(j) if alone else None
    return None if with_i is None or without is None else with_i - without


def _threshold(j: str, single: Losses | None, alone: Losses | None, both: Losses | None) -> float | None:
    lowered = single.drop(j) if single else None
    if lowered is None and (both is None or alone is None):
        return None
    sooner = both is not None and alone is not None and both.learned_at(j) < alone.learned_at(j)
    return EDGE if sooner or (lowered or 0.0) > 0 else 0.0
