"""Every verdict and decision of a run, derived again from its journal, under its own policy or another.

    events:  lease -> observe -> (a step is complete) -> verdict ...      attempt: back to a checkpoint's step
             |                    |                      |                |
             visits, tokens       history, judge, policy compared         the state at that step, children remembered

A replay under another policy is a thought experiment on the recorded losses: that policy would have dropped, weighted
and ordered otherwise, so that its own run would have trained on other rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dsa_ray.config import Config
from dsa_ray.dynamics.decisions import ExerciseFacts, Policy
from dsa_ray.dynamics.history import LossHistory
from dsa_ray.dynamics.verdicts import Judge
from dsa_ray.records import Action, ExerciseRequest, Kind, Verdict
from dsa_ray.sections import DynamicsConfig
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.texts import STREAM, request_from_row

EVENTS = "events"
_COMPARED = ("exercise", "cycle", "step", "verdict", "mean_loss", "loss_spread", "reason", "decision")
Row = Mapping[str, Any]
Key = tuple[int, int, int]
"""(attempts before it, exercise, cycle) of a verdict."""


class ReplayError(Exception):
    """A journal that cannot be replayed: one line."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Recorded and derived verdicts with their decisions, as plain rows."""

    steps: int = 0
    recorded: dict[Key, Row] = field(default_factory=dict)
    derived: dict[Key, Row] = field(default_factory=dict)
    restarts: list[int] = field(default_factory=list)
    """The step to which each attempt of the trainer returned."""

    def different(self) -> list[Key]:
        """Verdicts that differ in any bit, or that only one of the two has."""
        keys = sorted(self.recorded.keys() | self.derived.keys())
        return [key for key in keys if self.recorded.get(key) != self.derived.get(key)]

    def standing(self, rows: Mapping[Key, Row]) -> dict[tuple[int, int], Row]:
        """Those that no later restart made void, by (exercise, cycle)."""
        return {key[1:]: row for key, row in sorted(rows.items()) if self._stands(key[0], row["step"])}

    def _stands(self, attempt: int, step: int) -> bool:
        return all(step <= restart for restart in self.restarts[attempt:])


def replay(
    journal: str, config: Config, elementary: Collection[str], dynamics: DynamicsConfig | None = None
) -> Outcome:
    """Derive the verdicts of a run again.

    Args:
        journal: its folder or URI.
        config: the run's configuration.
        elementary: ids of skills that are practised, not taught.
        dynamics: another policy; the run's own if not given.

    Raises:
        ReplayError: the journal does not hold what a replay needs.
        JournalError: it is broken.
    """
    requests = {row["id"]: request_from_row(row) for row in _rows(journal, STREAM)}
    restarts = [row["step"] for row in _rows(journal, EVENTS) if row["event"] == "attempt"]
    replaying = _Replay(dynamics or config.dynamics, frozenset(elementary), requests, frozenset(restarts))
    for event in _rows(journal, EVENTS):
        replaying.take(event)
    replaying.close_due()
    return replaying.outcome


def _rows(journal: str, stream: str) -> Iterator[Row]:
    for _, rows in iter_segments(journal, stream):
        yield from rows


class _Replay:
    """The training side of the curator, driven by events."""

    def __init__(
        self,
        dynamics: DynamicsConfig,
        elementary: frozenset[str],
        requests: dict[int, ExerciseRequest],
        restarts: frozenset[int],
    ) -> None:
        self._dynamics, self._elementary, self._requests = dynamics, elementary, requests
        self._restarts = restarts
        self._children: list[ExerciseRequest] = []
        self._planted: dict[int, int] = {}  # whose question
        self._pardoned: set[int] = set()
        self._leases: dict[int, Row] = {}
        self._reported: Counter[int] = Counter()
        self._snapshots: dict[int, dict[str, Any]] = {}
        self._due: list[int] = []
        self._exercises = 0
        self.outcome = Outcome()
        self._reset()

    def take(self, event: Row) -> None:
        """One event, in the journal's order."""
        match event["event"]:
            case "request":
                self._request(request_from_row(event))
            case "plant":
                self._planted[event["id"]] = event["question"]
                self._history.mark_planted([event["id"]])
            case "lease":
                self.close_due()
                self._leases[event["rows"][0]["step"]] = _lease(event["rows"])
            case "observe":
                self.close_due()
                self._observe(event)
            case "attempt":
                self.close_due()
                self._restart(event["step"])
            case "restore":
                self.close_due()
                self._pardoned.update(event["exercises"])
                self._pardon(event["exercises"])
            case "verdict":
                self._verdict(event)

    def close_due(self) -> None:
        """Judge the steps that are complete. The number of exercises at that time stands in the verdicts after them."""
        due, self._due = self._due, []
        for step in due:
            self._history.close_step(step)
            self.outcome.steps += 1
            for verdict in self._judge.verdicts(self._history.completed(), self._history.is_planted, self._skills_of):
                self._decide(verdict)
            if step in self._restarts:
                self._snapshots[step] = self._state()
            self._leases.pop(step, None)

    def _request(self, request: ExerciseRequest) -> None:
        self._requests[request.id] = request
        if request.cause is not None:
            self._children.append(request)

    def _observe(self, event: Row) -> None:
        step = event["step"]
        lease = self._leases.get(step)
        if lease is None:
            raise ReplayError(f"step {step}: its losses are in the journal, its rows are not; it cannot be replayed")
        kept = [
            (exercise, *lease["items"][exercise], loss)
            for exercise, loss in zip(event["ids"], event["losses"], strict=True)
            if not self._is_textbook(exercise)
        ]
        if kept:
            ids, visits, tokens, losses = zip(*kept, strict=True)
            self._history.observe(step, ids, visits, losses, tokens)
        self._reported[step] += 1
        if self._reported[step] == lease["ranks"]:
            del self._reported[step]
            self._due.append(step)

    def _is_textbook(self, exercise: int) -> bool:
        request = self._requests.get(exercise)
        return request is not None and request.kind is Kind.TEXTBOOK

    def _verdict(self, event: Row) -> None:
        if "exercises" not in event:
            raise ReplayError("its verdicts do not say how many exercises there were: recorded by an older version")
        self._exercises = event["exercises"]
        self.close_due()
        self.outcome.recorded[self._key(event)] = {name: event[name] for name in _COMPARED}

    def _skills_of(self, exercise: int) -> tuple[str, ...]:
        return self._requests[self._planted.get(exercise, exercise)].skills

    def _decide(self, verdict: Verdict) -> None:
        request = self._requests[verdict.exercise]
        facts = ExerciseFacts(
            kind=request.kind,
            skills=request.skills,
            difficulty=request.difficulty,
            parents=request.parents,
            dropped_share=(self._dropped + 1) / max(1, self._exercises),
            replay=self._elementary.issuperset(request.skills),
        )
        decision = self._policy.decide(verdict, facts)
        self._dropped += Action.DROP in decision.actions and decision.reason != "dropped_before"
        row = json.loads(json.dumps({**asdict(verdict), "decision": asdict(decision)}))
        self.outcome.derived[self._key(row)] = row

    def _key(self, row: Row) -> Key:
        return len(self.outcome.restarts), row["exercise"], row["cycle"]

    def _reset(self) -> None:
        self._history = LossHistory(self._dynamics)
        self._judge = Judge(self._dynamics, self._elementary.issuperset)
        self._policy = Policy(self._dynamics)
        self._dropped = 0
        self._reported.clear()

    def _state(self) -> dict[str, Any]:
        parts = {"history": self._history, "judge": self._judge, "policy": self._policy}
        states = {name: part.state_dict() for name, part in parts.items()}
        return {**states, "dropped": self._dropped}

    def _restart(self, step: int) -> None:
        self.outcome.restarts.append(step)
        self._reset()
        if step:
            if step not in self._snapshots:
                raise ReplayError(f"the trainer began again at step {step}, up to which the journal does not lead")
            state = self._snapshots[step]
            self._history.load_state_dict(state["history"])
            self._judge.load_state_dict(state["judge"])
            self._policy.load_state_dict(state["policy"])
            self._dropped = state["dropped"]
        self._history.mark_planted(sorted(self._planted))
        self._pardon(self._pardoned)
        for child in self._children:
            assert child.cause is not None
            self._policy.remember(child.cause, child.kind, child.parents)

    def _pardon(self, exercises: Iterable[int]) -> None:
        for exercise in exercises:
            self._dropped -= self._policy.pardon(exercise)


def _lease(rows: Iterable[Row]) -> Row:
    """(visit, answer tokens) of every exercise of a step, and how many ranks train it."""
    rows = list(rows)
    items = {item["exercise"]: (item["visit"], item["loss_tokens"]) for row in rows for item in row["items"]}
    return {"items": items, "ranks": len({row["rank"] for row in rows})}
