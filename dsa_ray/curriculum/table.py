"""What the curator knows of every written exercise: numbers in columns; the text stays in the journal."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dsa_ray.curriculum.places import Places
from dsa_ray.records import EXERCISE_KINDS, ExerciseRequest, Kind, PackedItem, TextRef
from dsa_ray.storage.pages import reaching

_COLUMNS = {
    "tokens": np.int32,
    "prompt_tokens": np.int32,
    "answer_hash": np.int64,
    "kind": np.int8,
    "difficulty": np.int8,
    "skills": np.int32,
    "lineage": np.int32,
}
_KINDS = tuple(Kind)
"""A kind's place, plus 1, is its code; 0 is an id that is no exercise."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an exercise was asked to be."""

    kind: Kind
    skills: tuple[str, ...]
    difficulty: int
    parents: tuple[int, ...]


class ExerciseTable:
    """Columns over ids (dense integers). Grows by doubling; a row of an id that is not an exercise stays zero.

    Args:
        probes: planted answers are only probed (weight 0), not trained on.
        places: where texts lie, if somebody knows already.
    """

    def __init__(self, probes: bool = False, places: Places | None = None) -> None:
        self.probes = probes
        self._places = Places() if places is None else places
        self._rewritten = Places()
        """Where an exercise is trained on as another item has written it, in a review: an answer that was voted for."""
        self._total_tokens = 0
        self._columns = {name: np.zeros(1024, dtype) for name, dtype in _COLUMNS.items()}
        self._ids = array("i")
        self._skills: dict[tuple[str, ...], int] = {}
        self._named: list[tuple[str, ...]] = []
        self._same_skills: list[array[int]] = []
        self._parents = array("i", [0])
        """Of one exercise after another: how many, then their ids. 0 in the column `lineage` is to have none."""
        self.planted: dict[int, tuple[int, int]] = {}
        self.held_out: set[int] = set()
        """Exercises that are never trained on: forward only, for the losses that a mixture goes by."""

    def __len__(self) -> int:
        """Real exercises; planted ones are not data."""
        return len(self._ids)

    def __contains__(self, exercise: int) -> bool:
        kinds = self._columns["kind"]
        return 0 <= exercise < len(kinds) and kinds.item(exercise) > 0

    @property
    def mean_tokens(self) -> float:
        """Mean length of an exercise, tokens; 1 when there is none."""
        return self._total_tokens / len(self) if self._ids else 1.0

    def asked(self, exercise: int) -> Asked:
        """What an exercise was ordered as. Raises `KeyError` for one that is not here."""
        if exercise not in self:
            raise KeyError(exercise)
        columns = self._columns
        return Asked(
            kind=_KINDS[columns["kind"].item(exercise) - 1],
            skills=self._named[columns["skills"].item(exercise)],
            difficulty=columns["difficulty"].item(exercise),
            parents=self._parents_of(exercise),
        )

    def skills_of(self, exercise: int) -> tuple[str, ...]:
        """The skills of an exercise; of a planted one, those of its question."""
        question, _ = self.planted.get(exercise, (exercise, exercise))
        return self.asked(question).skills

    def ids(self) -> Iterable[int]:
        """In the order in which they were added."""
        return self._ids

    def tokens(self, ids: np.ndarray) -> np.ndarray:
        """Token counts of exercises, int32[len(ids)]."""
        return self._columns["tokens"][ids]

    def add(self, request: ExerciseRequest, ref: TextRef, prompt_tokens: int, tokens: int, answer_hash: int) -> None:
        """An accepted exercise."""
        values = {"tokens": tokens, "prompt_tokens": prompt_tokens, "answer_hash": answer_hash}
        values |= {"kind": _KINDS.index(request.kind) + 1, "difficulty": request.difficulty}
        values["skills"] = skills = self._skills_of(request.skills)
        if request.parents:
            values["lineage"] = len(self._parents)
            self._parents.extend((len(request.parents), *request.parents))
        self._set(request.id, values)
        if request.id not in self._places:
            self._places[request.id] = ref
        elif self._places[request.id] != ref:
            self._rewritten[request.id] = ref
        self._ids.append(request.id)
        self._total_tokens += tokens
        self._same_skills[skills].append(request.id)

    def plant(self, planted: int, question: int, answer: int) -> None:
        """A planted wrong answer: the question of one exercise with the answer of another."""
        columns = self._columns
        answer_tokens = int(columns["tokens"][answer] - columns["prompt_tokens"][answer])
        prompt_tokens = int(columns["prompt_tokens"][question])
        self._set(planted, {"prompt_tokens": prompt_tokens, "tokens": prompt_tokens + answer_tokens})
        self.planted[planted] = (question, answer)

    def planted_pairs(self) -> list[tuple[int, int, int]]:
        """(planted id, whose question, whose answer)."""
        return [(planted, *pair) for planted, pair in self.planted.items()]

    def wrong_answer_for(self, question: int, rng: np.random.Generator, row_tokens: int) -> int | None:
        """An exercise of the same skills with another final answer, short enough to fit; None when there is none."""
        hashes = self._columns["answer_hash"]
        candidates = self._same_skills[self._columns["skills"].item(question)]
        for _ in range(8):
            other = candidates[int(rng.integers(len(candidates)))]
            answer_tokens = self._columns["tokens"][other] - self._columns["prompt_tokens"][other]
            fits = self._columns["prompt_tokens"][question] + answer_tokens <= row_tokens
            if hashes[other] != hashes[question] and fits and other not in self.held_out:
                return other
        return None

    def item(self, exercise: int, visit: int, weight: float) -> PackedItem:
        """The exercise as part of a packed row."""
        question, answer = self.planted.get(exercise, (exercise, exercise))
        tokens, prompt_tokens = (self._columns[name].item(exercise) for name in ("tokens", "prompt_tokens"))
        return PackedItem(
            exercise=exercise,
            prompt=self._ref(question),
            answer=self._ref(answer),
            tokens=tokens,
            loss_tokens=tokens - max(1, prompt_tokens),
            visit=visit,
            weight=weight,
        )

    def _skills_of(self, skills: tuple[str, ...]) -> int:
        """The number of a combination of skills."""
        number = self._skills.setdefault(skills, len(self._named))
        if number == len(self._named):
            self._named.append(skills)
            self._same_skills.append(array("i"))
        return number

    def _ref(self, exercise: int) -> TextRef:
        return self._rewritten[exercise] if exercise in self._rewritten else self._places[exercise]

    def _parents_of(self, exercise: int) -> tuple[int, ...]:
        at = self._columns["lineage"].item(exercise)
        return tuple(self._parents[at + 1 : at + 1 + self._parents[at]])

    def _set(self, exercise: int, values: dict[str, int]) -> None:
        if exercise >= len(self._columns["tokens"]):
            self._columns = {name: reaching(column, exercise) for name, column in self._columns.items()}
        for name, value in values.items():
            self._columns[name][exercise] = value


def trainable(kind: Kind) -> bool:
    """Whether a written item of this kind enters the exercise table."""
    return kind in EXERCISE_KINDS
