"""The random control: the consequences of another run's verdicts, for exercises chosen without their losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from dsa_ray.dynamics.decisions import ExerciseFacts, Policy
from dsa_ray.records import Action, Decision, Kind, Order, Verdict
from dsa_ray.sections import DynamicsConfig

OWN, PARTNER, BOTH = "own", "partner", "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """What one verdict of the dynamics arm led to."""

    step: int
    replay: bool
    """Of an exercise on elementary skills alone."""
    actions: tuple[str, ...]
    weight: float
    children: tuple[tuple[str, str], ...]
    """(kind, whose child it is: the exercise's own, its partner's or of both)."""


def consequences(events: Iterable[Mapping[str, Any]], elementary: Iterable[str]) -> list[Consequence]:
    """Those of all verdicts of a run, from its events; a verdict on what was dropped before has none."""
    known, skills, found = set(elementary), {}, []
    for event in events:
        if event["event"] == "request":
            skills[event["id"]] = set(event["skills"])
        if event["event"] != "verdict" or event["decision"]["reason"] == "dropped_before":
            continue
        decision = event["decision"]
        ordered = decision["orders"][: len(event["children"])]  # beyond the budget of exercises nothing is ordered
        found.append(
            Consequence(
                step=event["step"],
                replay=skills[event["exercise"]] <= known,
                actions=tuple(decision["actions"]),
                weight=decision["weight"],
                children=tuple((order["kind"], _whose(event["exercise"], order["parents"])) for order in ordered),
            )
        )
    return found


def _whose(exercise: int, parents: Sequence[int]) -> str:
    if exercise not in parents:
        return PARTNER
    return BOTH if len(parents) > 1 else OWN


class RandomPolicy(Policy):
    """Deals out recorded consequences by lot among the exercises that get a verdict at the same steps or later.

    Replay and taught exercises have a lot each: as many of either are dropped, and children are on taught skills alone,
    as with the policy that was recorded. A partner is a taught exercise that had a verdict before.
    """

    def __init__(self, config: DynamicsConfig, recorded: Sequence[Consequence], seed: int) -> None:
        super().__init__(config)
        self._config = config
        self._rng = Random(f"control-{seed}")
        self._recorded = {kind: [one for one in recorded if one.replay is kind] for kind in (True, False)}
        self._lot: dict[bool, list[Consequence]] = {True: [], False: []}
        self._judged: dict[int, ExerciseFacts] = {}
        self._gone: set[int] = set()

    @property
    def left(self) -> list[Consequence]:
        """What was never dealt out."""
        return [*self._lot[True], *self._lot[False], *self._recorded[True], *self._recorded[False]]

    def decide(self, verdict: Verdict, facts: ExerciseFacts) -> Decision:
        if verdict.exercise in self._gone:
            return self._decision(verdict, (Action.DROP,), 0.0, "dropped_before")
        waiting, lot = self._recorded[facts.replay], self._lot[facts.replay]
        while waiting and waiting[0].step <= verdict.step:
            lot.append(waiting.pop(0))
        if not lot:
            return self._decision(verdict, (Action.KEEP,), 1.0, "random")
        drawn = lot.pop(self._rng.randrange(len(lot)))
        actions = tuple(map(Action, drawn.actions))
        if Action.DROP in actions:
            self._gone.add(verdict.exercise)
        orders = tuple(self._orders(verdict.exercise, facts, drawn))
        if not facts.replay:
            self._judged[verdict.exercise] = facts
        return replace(self._decision(verdict, actions, drawn.weight, "random"), orders=orders)

    def _orders(self, exercise: int, facts: ExerciseFacts, drawn: Consequence) -> Iterable[Order]:
        others = [other for other in self._judged if other != exercise and other not in self._gone] or [exercise]
        partner = self._rng.choice(others)
        of_partner = self._judged.get(partner, facts)
        for kind, whose in drawn.children:
            parent, its = (partner, of_partner) if whose == PARTNER else (exercise, facts)
            parents = (partner, exercise) if whose == BOTH else (parent,)
            skills = tuple(dict.fromkeys((*of_partner.skills, *facts.skills)))[:3] if whose == BOTH else its.skills
            hardest = max(of_partner.difficulty, facts.difficulty) if whose == BOTH else its.difficulty
            up = {Kind.COMPOSED: 1, Kind.HARDER: 1, Kind.EASIER: -1}.get(Kind(kind), 0)
            difficulty = min(max(1, hardest + up), self._config.max_difficulty)
            yield Order(kind=Kind(kind), skills=skills, difficulty=difficulty, parents=parents)

    @staticmethod
    def _decision(verdict: Verdict, actions: tuple[Action, ...], weight: float, reason: str) -> Decision:
        return Decision(exercise=verdict.exercise, cycle=verdict.cycle, actions=actions, weight=weight, reason=reason)
