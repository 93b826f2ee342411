"""What follows from a verdict: a pure, deterministic policy. The controller carries the decisions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dsa_ray.dynamics.number_set import NumberSet
from dsa_ray.dynamics.pairing import Waiting, WaitingRoom
from dsa_ray.records import (
    EXERCISE_KINDS,
    Action,
    Decision,
    Kind,
    Order,
    Verdict,
    VerdictClass,
)
from dsa_ray.sections import DynamicsConfig

_CLASS_CODES = {VerdictClass.HARD: 1, VerdictClass.EASY: 2}
_CLASS_OF_CAUSE = {
    Kind.VARIANT: VerdictClass.HARD,
    Kind.EASIER: VerdictClass.HARD,
    Kind.COMPOSED: VerdictClass.EASY,
    Kind.HARDER: VerdictClass.EASY,
}
_MOST_SKILLS = 3
_CYCLE_BITS, _CLASS_BITS = 32, 2
_CYCLES, _CLASSES = (1 << _CYCLE_BITS) - 1, (1 << _CLASS_BITS) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExerciseFacts:
    """What the policy needs to know of an exercise beside its verdict."""

    kind: Kind
    skills: tuple[str, ...]
    difficulty: int
    parents: tuple[int, ...] = ()
    """Its lineage; the rules here do not depend on it."""
    dropped_share: float = 0.0
    """Share of all exercises that would be dropped if this one were, this one included."""
    replay: bool = False
    """It practises elementary skills alone: it is there so that they are not forgotten."""
    stays_hard: bool = False
    """More of the same does not help: a ladder is climbed from it, where it would get variants."""


class Policy:
    """The consequences of verdicts, after DSA's figure: filter out, augment, compose and down-weight.

    - erroneous: dropped, unless `drop_cap` is reached. In a stream the cap takes them as they come, not the highest
      mean first. What is dropped stays dropped,
      until somebody takes it back (`pardon`); then it is not dropped again.
    - hard: `variants` new exercises of the same skills and difficulty. With `easier`, where these did not help (it is
      a variant itself, or hard in a second cycle), so many of the same skills one difficulty down instead. Where its
      skills stay hard and ladders are climbed meanwhile (`yoda.live`), a ladder in the place of either.
    - easy: `easy_weight`, and composed with the longest-waiting easy one of different skills; with that, each of the
      two gets `harder` harder ones of its own skills. If only one of the very same skills waits, a harder one of its
      own is ordered instead; else it waits for a partner.
    - ambiguous: kept.

    Replay of elementary skills is dropped where it is erroneous, and otherwise kept as it is: lightened, it would
    no longer do what it is for, and harder elementary exercises teach nothing of the target.

    Variants and harder ones, weights and pairing are ours; the actions are the paper's.

    An exercise orders children once per class (easier ones once more), and once per (exercise, cycle): a verdict that
    is derived again after `void_after` orders nothing that was ordered already.
    """

    def __init__(self, config: DynamicsConfig) -> None:
        self._config = config
        self._ordered_cycles = NumberSet()
        self._ordered_classes = NumberSet()
        self._stepped_down = NumberSet()
        self._dropped: dict[int, int] = {}  # exercise -> step of the verdict
        self._pardoned: set[int] = set()
        self._waiting = WaitingRoom()

    @property
    def waiting(self) -> int:
        """Easy exercises without a partner."""
        return len(self._waiting)

    def decide(self, verdict: Verdict, facts: ExerciseFacts) -> Decision:
        """The consequence of one verdict; call once per verdict, in the order in which they are given.

        Raises:
            ValueError: the facts are not those of an exercise.
        """
        if facts.kind not in EXERCISE_KINDS or not facts.skills:
            raise ValueError(f"exercise {verdict.exercise}: a {facts.kind} of skills {facts.skills} has no verdict")
        if verdict.exercise in self._dropped:
            return _decision(verdict, (Action.DROP,), 0.0, reason="dropped_before")
        if facts.replay and verdict.verdict is not VerdictClass.ERRONEOUS:
            return _decision(verdict, (Action.KEEP,), 1.0, reason="replay")
        if verdict.verdict is VerdictClass.EASY:
            return self._easy(verdict, facts)
        self._waiting.remove(verdict.exercise)
        if verdict.verdict is VerdictClass.ERRONEOUS:
            return self._erroneous(verdict, facts)
        if verdict.verdict is VerdictClass.HARD:
            return self._hard(verdict, facts)
        return _decision(verdict, (Action.KEEP,), 1.0)

    def remember(self, cause: tuple[int, int], kind: Kind, parents: tuple[int, ...]) -> None:
        """Take note of a child ordered in a past that this state does not know: a request read back from the journal.

        Args:
            cause: (exercise, cycle) of the verdict that ordered it.
        """
        ordered_class = _CLASS_OF_CAUSE[kind]
        self._mark_ordered(cause, ordered_class)
        for parent in parents:
            if kind is Kind.EASIER:
                self._stepped_down.add(parent)
            self._ordered_classes.add(_class_key(parent, ordered_class))
            self._waiting.remove(parent)

    def pardon(self, exercise: int) -> bool:
        """Somebody looked at an exercise and takes it back. Whether it had been dropped; loading a state forgets it."""
        self._pardoned.add(exercise)
        return self._dropped.pop(exercise, None) is not None

    def void_after(self, step: int) -> None:
        """Forget who was dropped or began to wait by a verdict of a later step. What was ordered stays ordered."""
        self._dropped = {exercise: dropped for exercise, dropped in self._dropped.items() if dropped <= step}
        self._waiting.void_after(step)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything, as numpy arrays (no pickled objects)."""
        cycles, classes = self._ordered_cycles.array(), self._ordered_classes.array()
        return {
            "ordered_cycles": np.stack([cycles >> _CYCLE_BITS, cycles & _CYCLES], axis=1),
            "ordered_classes": np.stack([classes >> _CLASS_BITS, classes & _CLASSES], axis=1),
            "stepped_down": self._stepped_down.array(),
            "dropped": np.array(list(self._dropped.items()), "i8").reshape(-1, 2),
            **self._waiting.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace everything by what `state_dict` gave."""
        exercises, cycles = state["ordered_cycles"].T
        self._ordered_cycles = NumberSet(exercises << _CYCLE_BITS | cycles)
        exercises, classes = state["ordered_classes"].T
        self._ordered_classes = NumberSet(exercises << _CLASS_BITS | classes)
        self._stepped_down = NumberSet(state["stepped_down"])
        self._pardoned = set()
        self._dropped = dict(state["dropped"].tolist())
        self._waiting.load_state_dict(state)

    def _erroneous(self, verdict: Verdict, facts: ExerciseFacts) -> Decision:
        if verdict.exercise in self._pardoned:
            return _decision(verdict, (Action.KEEP,), 1.0, reason="restored")
        if facts.dropped_share > self._config.drop_cap:
            reason = f"drop_cap: {facts.dropped_share:.4f} dropped would be more than {self._config.drop_cap}"
            return _decision(verdict, (Action.KEEP,), 1.0, reason=reason)
        self._dropped[verdict.exercise] = verdict.step
        return _decision(verdict, (Action.DROP,), 0.0)

    def _hard(self, verdict: Verdict, facts: ExerciseFacts) -> Decision:
        if facts.stays_hard and not self._cycle_ordered(verdict):
            self._mark_ordered((verdict.exercise, verdict.cycle), VerdictClass.HARD)
            return _decision(verdict, (Action.LADDER,), 1.0, reason="stays_hard")
        if self._may_step_down(verdict, facts):
            return self._easier(verdict, facts)
        if self._has_ordered(verdict):
            return _decision(verdict, (Action.KEEP,), 1.0, reason="ordered_before")
        if not self._config.variants:
            return _decision(verdict, (Action.KEEP,), 1.0, reason="no_variants")
        self._mark_ordered((verdict.exercise, verdict.cycle), VerdictClass.HARD)
        order = Order(kind=Kind.VARIANT, skills=facts.skills, difficulty=facts.difficulty, parents=(verdict.exercise,))
        return replace(_decision(verdict, (Action.AUGMENT,), 1.0), orders=(order,) * self._config.variants)

    def _may_step_down(self, verdict: Verdict, facts: ExerciseFacts) -> bool:
        known_hard = _class_key(verdict.exercise, VerdictClass.HARD) in self._ordered_classes
        tried = facts.kind is Kind.VARIANT or known_hard
        return (
            tried
            and self._config.easier > 0
            and facts.difficulty > 1
            and verdict.exercise not in self._stepped_down
            and not self._cycle_ordered(verdict)
        )

    def _easier(self, verdict: Verdict, facts: ExerciseFacts) -> Decision:
        self._mark_ordered((verdict.exercise, verdict.cycle), VerdictClass.HARD)
        self._stepped_down.add(verdict.exercise)
        easier = facts.difficulty - 1
        order = Order(kind=Kind.EASIER, skills=facts.skills, difficulty=easier, parents=(verdict.exercise,))
        decision = _decision(verdict, (Action.AUGMENT,), 1.0, reason="step_down")
        return replace(decision, orders=(order,) * self._config.easier)

    def _easy(self, verdict: Verdict, facts: ExerciseFacts) -> Decision:
        lighter = _decision(verdict, (Action.DOWN_WEIGHT,), self._config.easy_weight)
        if self._has_ordered(verdict):
            return replace(lighter, reason="ordered_before")
        if verdict.exercise in self._waiting:
            return replace(lighter, reason="waiting")
        easy = Waiting(exercise=verdict.exercise, skills=facts.skills, difficulty=facts.difficulty, step=verdict.step)
        partner = self._waiting.take_different(easy.skills)
        if partner is not None:
            orders = (self._composed(partner, easy), *self._harder(partner), *self._harder(easy))
        elif easy.difficulty < self._config.max_difficulty and self._waiting.has_same(easy.skills):
            orders = (_harder_than(easy),)
        else:
            self._waiting.add(easy)
            return replace(lighter, reason="waiting")
        self._mark_ordered((verdict.exercise, verdict.cycle), VerdictClass.EASY)
        for parent in orders[0].parents:
            self._ordered_classes.add(_class_key(parent, VerdictClass.EASY))
        return replace(lighter, actions=(Action.DOWN_WEIGHT, Action.COMPOSE), orders=orders)

    def _composed(self, first: Waiting, second: Waiting) -> Order:
        return Order(
            kind=Kind.COMPOSED,
            skills=_union(first.skills, second.skills),
            difficulty=min(max(first.difficulty, second.difficulty) + 1, self._config.max_difficulty),
            parents=(first.exercise, second.exercise),
        )

    def _harder(self, easy: Waiting) -> tuple[Order, ...]:
        if easy.difficulty >= self._config.max_difficulty:
            return ()
        return (_harder_than(easy),) * self._config.harder

    def _has_ordered(self, verdict: Verdict) -> bool:
        ordered = _class_key(verdict.exercise, verdict.verdict) in self._ordered_classes
        return ordered or self._cycle_ordered(verdict)

    def _cycle_ordered(self, verdict: Verdict) -> bool:
        return _cycle_key(verdict.exercise, verdict.cycle) in self._ordered_cycles

    def _mark_ordered(self, cause: tuple[int, int], ordered_class: VerdictClass) -> None:
        self._ordered_cycles.add(_cycle_key(*cause))
        self._ordered_classes.add(_class_key(cause[0], ordered_class))


def _cycle_key(exercise: int, cycle: int) -> int:
    return exercise << _CYCLE_BITS | cycle


def _class_key(exercise: int, verdict: VerdictClass) -> int:
    return exercise << _CLASS_BITS | _CLASS_CODES[verdict]


def _decision(verdict: Verdict, actions: tuple[Action, ...], weight: float, reason: str = "") -> Decision:
    return Decision(exercise=verdict.exercise, cycle=verdict.cycle, actions=actions, weight=weight, reason=reason)


def _harder_than(easy: Waiting) -> Order:
    return Order(kind=Kind.HARDER, skills=easy.skills, difficulty=easy.difficulty + 1, parents=(easy.exercise,))


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Skills of both in order, at most three; a cut keeps one that only the second has."""
    new = [skill for skill in dict.fromkeys(second) if skill not in first]
    kept = list(dict.fromkeys(first))[: max(_MOST_SKILLS - len(new), _MOST_SKILLS - 1)]
    return tuple(kept + new)[:_MOST_SKILLS]
