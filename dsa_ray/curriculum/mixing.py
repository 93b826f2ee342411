"""The mixture of skills while training goes on: who is held out, what their losses say, which shares follow.

    held-out exercises --(weight 0, among the trained ones)--> losses --> mixture --> shares of the sampler's groups

Nothing waits: a round that begins before its losses are known takes what is known. Baselines of equal rank go the same
way: `random` takes the shares that the data has, `stratified` equal ones, `curriculum` and `anti_curriculum` go by the
difficulty that exercises were ordered with (ours: the paper sorts by the untrained model's loss, which exercises that
are still to be written do not have), `skill_curriculum` and its opposite by the skills' losses before training.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dsa_ray.config import Config
from dsa_ray.curriculum.mixture import (
    Evaluation,
    MixtureRule,
    complete_losses,
    first_mixture,
    next_mixture,
    proportional,
    refitted,
    stratified,
    transfer_of,
    usable,
)
from dsa_ray.curriculum.table import Asked
from dsa_ray.records import ExerciseRequest, Kind, SkillGraph
from dsa_ray.skills.graph import names_of
from dsa_ray.skills.names import Names

_BY_LOSS = frozenset({"skill_it", "skill_curriculum", "skill_anti_curriculum"})
_BY_DIFFICULTY = frozenset({"curriculum", "anti_curriculum"})
Probe = tuple[int, int]
"""(held-out exercise, number of the evaluation, from 1)."""


class Mixing:
    """Decides the shares of a run whose `curriculum.sampler` is not `dynamics`.

    Args:
        config: the run's configuration.
        graph: the run's skill graph, once there is one.
        counts: exercises by group, as the sampler has them.
        emit: takes events for the journal.
    """

    def __init__(
        self,
        config: Config,
        graph: Callable[[], SkillGraph | None],
        counts: Callable[[], Mapping[str, int]],
        emit: Callable[[dict[str, Any]], None],
    ) -> None:
        curriculum = config.curriculum
        self._curriculum, self._graph, self._counts, self._emit = curriculum, graph, counts, emit
        self._steps = config.train.steps
        self._rule = MixtureRule(
            eta=curriculum.eta,
            rounds=curriculum.rounds,
            window=curriculum.window,
            form=curriculum.form,
            setting=curriculum.setting,
        )
        self._named: tuple[SkillGraph | None, frozenset[str]] | None = None
        self._held: dict[str, list[int]] = defaultdict(list)
        self._skill: dict[int, str] = {}
        self._seen: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        """Of what came in otherwise than it should: `negative_weight`, `missing_weight`, `skill_without_losses`,
        `evaluation_left_out`."""
        self.reset()

    def reset(self) -> None:
        """Back to the untrained student; who is held out stays."""
        self._round = self._asked = -1
        self._evaluation = 0
        self._open: dict[int, dict[str, Any]] = {}
        self._evaluations: list[Evaluation] = []
        self._history: list[dict[str, Any]] = []

    @property
    def _targets(self) -> frozenset[str]:
        """Ids of the skills that `curriculum.targets` names."""
        graph = self._graph()
        if self._named is None or self._named[0] is not graph:
            words = self._curriculum.targets
            names = names_of(graph) if graph is not None and words else Names()
            self._named = graph, names.ids(words)
        return self._named[1]

    # who is trained on

    def group_of(self, request: ExerciseRequest | Asked) -> str:
        """What an exercise is counted as: the skill that it was ordered for, or its difficulty."""
        by_difficulty = self._curriculum.sampler in _BY_DIFFICULTY
        return str(request.difficulty) if by_difficulty else request.skills[0]

    def trains(self, request: ExerciseRequest | Asked) -> bool:
        """Whether it may be trained on: out of domain, nothing of a target is."""
        return self._curriculum.setting != "out_of_domain" or not self._targets.intersection(request.skills)

    def holds_out(self, request: ExerciseRequest) -> bool:
        """Whether this new exercise is kept from training; then it is. Every second of a skill, until it has enough."""
        if self._curriculum.sampler not in _BY_LOSS or request.cause is not None:
            return False
        skill = request.skills[0]
        if request.kind not in (Kind.EXERCISE, Kind.GIVEN) or (self._targets and skill not in self._targets):
            return False
        self._seen[skill] += 1
        if self._seen[skill] % 2 or len(self._held[skill]) >= self._curriculum.held_out:
            return False
        self.hold_out(request.id, skill)
        self._emit({"event": "hold_out", "id": request.id, "skill": skill})
        return True

    def hold_out(self, exercise: int, skill: str) -> None:
        """It is held out, as the journal says."""
        self._held[skill].append(exercise)
        self._skill[exercise] = skill

    def is_held_out(self, exercise: int) -> bool:
        return exercise in self._skill

    # what their losses say

    def due(self, planned: int, waiting: bool) -> list[Probe]:
        """The held-out exercises to go into the next steps, when an evaluation is due.

        Args:
            planned: exercise steps planned so far.
            waiting: some of the last evaluation are still to be planned: then this one is left out.
        """
        if self._curriculum.sampler not in _BY_LOSS or not self._skill:
            return []
        number = planned * self._curriculum.rounds * self._curriculum.evaluations // self._steps
        if number == self._asked:
            return []
        self._asked = number
        if waiting:
            self.counts["evaluation_left_out"] += 1
            return []
        self._evaluation += 1
        exercises = [exercise for held in self._held.values() for exercise in held]
        self._open[self._evaluation] = {"round": max(0, self._round), "due": set(exercises), "losses": {}}
        return [(exercise, self._evaluation) for exercise in exercises]

    def observe(self, evaluation: int, exercise: int, loss: float) -> None:
        """The loss of a held-out exercise; the evaluation's last one completes it."""
        opened = self._open.get(evaluation)
        if opened is None or exercise not in opened["due"]:
            return
        opened["due"].discard(exercise)
        opened["losses"][exercise] = loss
        if opened["due"]:
            return
        del self._open[evaluation]
        by_skill: dict[str, list[float]] = defaultdict(list)
        for each, value in opened["losses"].items():
            by_skill[self._skill[each]].append(value)
        means = {skill: float(np.mean(values)) for skill, values in by_skill.items()}
        losses, without = complete_losses(means.get(skill) for skill in self._evaluated())
        if losses is not None:
            self.counts["skill_without_losses"] = max(self.counts["skill_without_losses"], without)
            self._evaluations.append(Evaluation(opened["round"], losses))
            self._emit({"event": "evaluation", "number": evaluation, "round": opened["round"], "losses": means})

    # which shares follow

    def shares(self, planned: int) -> dict[str, float] | None:
        """The shares of the round that begins after so many planned exercise steps; None inside a round."""
        number = min(self._curriculum.rounds - 1, planned * self._curriculum.rounds // self._steps)
        if number == self._round or self._graph() is None:
            return None
        self._round = number
        shares = self._decide(number)
        self._history.append({"round": number, "planned": planned, "shares": shares})
        self._emit({"event": "mixture", "round": number, "planned": planned, "shares": shares})
        return shares

    def _decide(self, number: int) -> dict[str, float]:
        sampler, counts = self._curriculum.sampler, dict(self._counts())
        skills = self._trained()
        if sampler in _BY_DIFFICULTY:
            return _easiest(counts, (number + 1) / self._curriculum.rounds, sampler == "anti_curriculum")
        if sampler == "random":
            return dict(zip(skills, proportional([counts.get(skill, 0) for skill in skills]).tolist(), strict=True))
        if sampler in ("stratified", "skill_it"):
            transfer = self._transfer(skills)
            if self._curriculum.refit and sampler == "skill_it":
                transfer, _ = usable(refitted(transfer, self._rounds_over(skills), self._curriculum.refit), "code")
            mixture = (
                stratified(transfer, self._rule.setting)
                if sampler == "stratified"
                else next_mixture(transfer, self._evaluations, self._rule)
                if self._evaluations and number
                else first_mixture(transfer, self._rule)
            )
            return dict(zip(skills, mixture.tolist(), strict=True))
        return self._in_turn(skills, number / self._curriculum.rounds)

    def _transfer(self, skills: Sequence[str]) -> np.ndarray:
        graph = self._graph()
        assert graph is not None
        transfer, counts = usable(transfer_of(graph, skills, self._evaluated()), self._rule.form)
        self.counts |= counts
        return transfer

    def _rounds_over(self, skills: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Shares, losses before and losses after of the rounds where all three are known."""
        before: dict[int, np.ndarray] = {}
        for each in self._evaluations:
            before.setdefault(each.round, each.losses)
        return [
            (np.array([row["shares"].get(skill, 0.0) for skill in skills]), before[number], before[number + 1])
            for number, row in ((row["round"], row) for row in self._history)
            if number in before and number + 1 in before
        ]

    def _in_turn(self, skills: Sequence[str], progress: float) -> dict[str, float]:
        """Skill after skill by the loss before training, with part of the earlier ones; then all of them."""
        if not self._evaluations:
            return dict.fromkeys(skills, 1.0)
        first = dict(zip(self._evaluated(), self._evaluations[0].losses.tolist(), strict=True))
        backwards = self._curriculum.sampler == "skill_anti_curriculum"
        order = sorted(first, key=lambda skill: (-first[skill] if backwards else first[skill], skill))
        return group_phase(order, progress, self._curriculum.earlier)

    def _trained(self) -> list[str]:
        graph = self._graph()
        assert graph is not None
        left_out = self._targets if self._curriculum.setting == "out_of_domain" else frozenset()
        return [skill.id for skill in graph.skills if not skill.group and skill.id not in left_out]

    def _evaluated(self) -> list[str]:
        """Raises ValueError where a target is no skill of the graph."""
        graph = self._graph()
        assert graph is not None
        skills = [skill.id for skill in graph.skills if not skill.group]
        unknown = self._targets.difference(skills)
        if unknown:
            raise ValueError(f"curriculum.targets: the graph has no skill {min(unknown)!r}; see `dsa graph show`")
        return [skill for skill in skills if not self._targets or skill in self._targets]

    # state

    def facts(self) -> dict[str, Any]:
        """Shares by round, evaluations, counts."""
        return {
            "sampler": self._curriculum.sampler,
            "held_out": {skill: len(held) for skill, held in self._held.items()},
            "rounds": list(self._history),
            "evaluations": [{"round": each.round, "losses": each.losses.tolist()} for each in self._evaluations],
            "counts": dict(+self.counts),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "round": self._round,
            "asked": self._asked,
            "evaluation": self._evaluation,
            "open": [
                [number, each["round"], sorted(each["due"]), [list(pair) for pair in each["losses"].items()]]
                for number, each in self._open.items()
            ],
            "evaluations": [[each.round, each.losses.tolist()] for each in self._evaluations],
            "history": self._history,
            "counts": dict(self.counts),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._round, self._asked, self._evaluation = state["round"], state["asked"], state["evaluation"]
        self._open = {
            number: {"round": round_, "due": set(due), "losses": dict(losses)}
            for number, round_, due, losses in state["open"]
        }
        self._evaluations = [Evaluation(round_, np.array(losses, "f8")) for round_, losses in state["evaluations"]]
        self._history = list(state["history"])
        self.counts = Counter(state["counts"])


def group_phase(order: Sequence[str], progress: float, earlier: float) -> dict[str, float]:
    """Shares of a group curriculum at `progress` (0..1) of the budget (arXiv 2205.09898, as Skill-It uses it).

    Each group in turn gets one part of the budget, `earlier` parts more for every group before it; then all of them
    together get as many parts as there are groups. The parts add up to the budget.
    """
    lengths = [1.0 + earlier * place for place in range(len(order))] + [float(len(order))]
    place, done = 0, progress * sum(lengths)
    while place < len(order) and done >= lengths[place] - 1e-9:
        done -= lengths[place]
        place += 1
    if place == len(order):
        return dict.fromkeys(order, 1.0)
    return {group: 1.0 if at == place else earlier if at < place else 0.0 for at, group in enumerate(order)}


def _easiest(counts: Mapping[str, int], share: float, backwards: bool) -> dict[str, float]:
    """Shares that draw evenly from the easiest (or hardest) `share` of all exercises, by difficulty."""
    left = share * sum(counts.values())
    shares = {}
    for difficulty in sorted(counts, key=int, reverse=backwards):
        shares[difficulty] = float(max(0.0, min(counts[difficulty], left)))
        left -= counts[difficulty]
    return shares
