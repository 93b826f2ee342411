"""Training runs on exact exercises of which a known share is wrong: the loss histories that verdicts are judged by.

The parts are the ring's own: table, sampler, planner, packing, loop, history. Nothing is asked of a teacher: what the
embedded writers wrote arrives in eight waves, wrong answers are made by `embedded.engine.wrong`. Planted answers of
both kinds, trained on (inline) and forward only (probe), go along in the same run, so that one run serves both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from dsa_ray.config import Config, parse
from dsa_ray.curriculum.planner import StepPlanner
from dsa_ray.curriculum.sampler import Sampler
from dsa_ray.curriculum.table import ExerciseTable
from dsa_ray.dynamics.history import CompletedCycle, LossHistory
from dsa_ray.embedded import compose, shipped
from dsa_ray.embedded.engine import wrong
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Exercise, ExerciseRequest, Kind, PackedItem, TextRef, Written
from dsa_ray.training.collate import Row, pack
from dsa_ray.training.loop import StepReport, run_rank
from dsa_ray.training.student import load_student
from dsa_ray.training.torch_engine import TorchEngine

KNOWN = ("addition", "subtraction", "multiplication", "order-of-operations", "evaluating-expressions")
TAUGHT = (
    "like-terms",
    "derivative-of-a-monomial",
    "derivative-of-an-exponential",
    "slope-of-a-line",
    "expanding-brackets",
    "chain-rule",
)
WAVES = 8
PLANTED = 48
"""Planted answers of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    share: float
    """Of the exercises, this share has a wrong answer."""
    seed: int
    steps: int = 320
    exercises: int = 1600


class Texts:
    """Written exercises in memory; the place of one is its index."""

    def __init__(self) -> None:
        self.items: list[Written] = []

    def get(self, ref: TextRef) -> Written:
        return self.items[ref.row]


class BothKinds(ExerciseTable):
    """A table whose planted answers are probes, but for those that are named inline."""

    def __init__(self) -> None:
        super().__init__(probes=True)
        self.inline: set[int] = set()

    def item(self, exercise: int, visit: int, weight: float) -> PackedItem:
        return super().item(exercise, visit, 1.0 if exercise in self.inline else weight)


@dataclass(slots=True)
class Run:
    """What a run leaves."""

    setting: Setting
    config: Config
    table: BothKinds
    history: LossHistory
    wrong: set[int]
    wave: dict[int, int]
    cycles: list[CompletedCycle] = field(default_factory=list)
    tokens: int = 0
    extra: dict[tuple[int, int], Any] = field(default_factory=dict)


def config_of(setting: Setting) -> Config:
    return parse(
        {
            "run": {"name": "verdicts", "seed": setting.seed},
            "graph": {"target": "calculus"},
            "train": {"steps": setting.steps, "rows_per_step": 2, "row_tokens": 512, "learning_rate": 1e-3, "slots": 4},
            "dynamics": {"visits": 3},
        }
    )


def write(setting: Setting, tokenizer: StudentTokenizer) -> tuple[Texts, set[int]]:
    """Exercises of every skill in turn at difficulties 1 and 2, and the ids of the wrong ones. Ids count from 1."""
    rng = Random(f"verdicts-{setting.seed}")
    skills = (*KNOWN, *TAUGHT)
    texts, bad = Texts(), set()
    for index in range(setting.exercises):
        skill, difficulty = skills[index % len(skills)], 1 + (index // len(skills)) % 2
        problem = compose.exercise(rng, [skill], difficulty)
        answer = problem.answer
        if rng.random() < setting.share:
            answer = wrong(rng, answer)
            bad.add(index + 1)
        ids, prompt = tokenizer.encode_exercise(problem.question, problem.solution, answer)
        request = ExerciseRequest(id=index + 1, kind=Kind.EXERCISE, skills=(skill,), difficulty=difficulty)
        texts.items.append(
            Written(
                request=request,
                item=Exercise(skills=(skill,), question=problem.question, solution=problem.solution, answer=answer),
                generator="exact",
                generator_version="",
                prompt_version="",
                content_hash=0,
                answer_hash=hash(answer) & 0x7FFFFFFF,
                input_ids=ids,
                prompt_tokens=prompt,
            )
        )
    return texts, bad


class Stream:
    """The rows of a run in order; exercises arrive in waves."""

    def __init__(self, run: Run, texts: Texts) -> None:
        self._run, self._texts = run, texts
        config = run.config
        self._sampler = Sampler(cap=config.dynamics.cap, seed=config.run.seed)
        self._planner = StepPlanner(config.train, run.table, self._sampler)
        self._planner.set_textbooks([])
        self._rng = np.random.default_rng(config.run.seed)
        self._lease = 1
        self._arrived = 0
        self.plans = []

    def __iter__(self) -> Iterator[Row]:
        for step in range(1, self._run.setting.steps + 1):
            self._arrive(step)
            plans = self._planner.plan(self._lease, patient=False)
            if plans is None:
                return
            self._lease += len(plans)
            self.plans = plans
            for plan in plans:
                yield pack(plan, self._texts.get, self._run.config.train.row_tokens)

    def drop(self, exercise):
        self._sampler.drop(exercise)

    def _arrive(self, step: int) -> None:
        setting = self._run.setting
        last = setting.steps * 0.8
        due = min(WAVES, 1 + int((step - 1) / last * WAVES))
        while self._arrived < due:
            size = setting.exercises // WAVES
            for item in self._texts.items[self._arrived * size : (self._arrived + 1) * size]:
                self._add(item, self._arrived)
            self._plant()
            self._arrived += 1

    def _add(self, item: Written, wave: int) -> None:
        number = item.request.id
        self._run.table.add(
            item.request, TextRef(segment=0, row=number - 1), item.prompt_tokens, item.tokens, item.answer_hash
        )
        self._run.wave[number] = wave
        self._sampler.add(number)

    def _plant(self) -> None:
        table = self._run.table
        ids = np.array(sorted(table.ids()))
        for nth in range(2 * PLANTED // WAVES):
            question = int(self._rng.choice(ids))
            answer = table.wrong_answer_for(question, self._rng, 512)
            if answer is None:
                continue
            number = self._run.setting.exercises + 1 + len(table.planted)
            table.plant(number, question, answer)
            if nth % 2:
                table.inline.add(number)
            self._run.history.mark_planted([number])
            self._sampler.add(number)
