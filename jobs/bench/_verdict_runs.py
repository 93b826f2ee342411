"""Training runs on exact exercises of which a known share is wrong: the loss histories that verdicts are judged by.

Table, sampler, planner, packing, loop and history are those of `dsa_ray.local`; there is no teacher. What the embedded
writers wrote arrives in eight waves, wrong answers are made by `embedded.engine.wrong`: one digit of the final answer,
below a solution that is right. Planted answers of both kinds, trained on (inline) and forward only (probe), go along in
the same run, so that one run serves both.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

import numpy as np
from _verdict_exam import accuracies

from dsa_ray.config import Config, parse
from dsa_ray.curriculum.planner import StepPlanner
from dsa_ray.curriculum.sampler import Sampler
from dsa_ray.curriculum.table import ExerciseTable
from dsa_ray.dynamics.history import LossHistory, VisitLoss
from dsa_ray.embedded import compose, shipped
from dsa_ray.embedded.engine import wrong
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Exercise, ExerciseRequest, Kind, PackedItem, RowPlan, TextRef, Written
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
SKILLS = (*KNOWN, *TAUGHT)
WAVES = 8
LAST_WAVE = 0.8
"""Where in the run the last wave has come."""
PLANTED = 48
"""Planted answers of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    share: float
    """Share of the exercises that have a wrong answer."""
    seed: int
    steps: int = 220
    exercises: int = 1100
    at_once: bool = False
    """Everything is there at the first step and has three visits: the paper's form, for the `copy` baseline."""


class BothKinds(ExerciseTable):
    """A table whose planted answers are probes, but for those that are named inline."""

    def __init__(self) -> None:
        super().__init__(probes=True)
        self.inline: set[int] = set()

    def item(self, exercise: int, visit: int, weight: float) -> PackedItem:
        return super().item(exercise, visit, 1.0 if exercise in self.inline else weight)


@dataclass(slots=True, kw_only=True)
class Run:
    """What a run leaves."""

    setting: Setting
    wrong: frozenset[int]
    """Ids of exercises with a wrong answer."""
    skill: Mapping[int, str]
    planted_skill: Mapping[int, str] = field(default_factory=dict)
    """That of a planted answer's question."""
    wave: dict[int, int] = field(default_factory=dict)
    visits: dict[int, list[VisitLoss]] = field(default_factory=dict)
    inline: frozenset[int] = frozenset()
    probes: frozenset[int] = frozenset()
    accuracy: Mapping[str, float] = field(default_factory=dict)
    """Exam after training, by skill."""
    tokens: int = 0
    dropped: Counter[int] = field(default_factory=Counter)
    """Exercises dropped after each step."""


Dropper = Callable[[StepReport, BothKinds, list[int]], list[int]]
"""(step, table, exercises in training) -> exercises to drop now."""


def train(setting: Setting, drops: Dropper | None = None, exam_questions: int = 20) -> Run:
    """One run from the built-in student."""
    config, student = _config(setting), shipped.resolve("embedded:student")
    tokenizer = StudentTokenizer(student)
    texts, wrong_ones = _write(setting, tokenizer)
    run = Run(setting=setting, wrong=wrong_ones, skill={item.request.id: item.request.skills[0] for item in texts})
    history = LossHistory(config.dynamics)
    stream = _Stream(run, config, texts, history)
    engine = TorchEngine(load_student(student, config.train)[0], config.train)

    def observe(step: StepReport) -> None:
        run.tokens += step.tokens
        history.observe(step.step, step.ids, step.visits, step.losses, step.tokens_per_example)
        history.close_step(step.step)
        if drops is not None:
            stream.drop(step.step, drops(step, stream.table, stream.training))

    run_rank(engine, stream, config.train.rows_in_step, observe, config.train)
    stream.leave(history)
    if exam_questions:
        run.accuracy = accuracies(engine, tokenizer, config.train, SKILLS, exam_questions)
    return run


def _config(setting: Setting) -> Config:
    train = {"steps": setting.steps, "rows_per_step": 2, "row_tokens": 512, "learning_rate": 1e-3, "slots": 4}
    return parse(
        {
            "run": {"name": "verdicts", "seed": setting.seed},
            "graph": {"target": "calculus"},
            "train": train,
            "dynamics": {"visits": 3, "visit_cap": 3 if setting.at_once else 6},
        }
    )


def _write(setting: Setting, tokenizer: StudentTokenizer) -> tuple[list[Written], frozenset[int]]:
    """Exercises of every skill in turn at difficulties 1 and 2, and the ids of the wrong ones. Ids count from 1."""
    rng = Random(f"verdicts-{setting.seed}-{setting.share}")
    texts, wrong_ones = [], set()
    for index in range(setting.exercises):
        skill, difficulty = SKILLS[index % len(SKILLS)], 1 + index // len(SKILLS) % 2
        problem = compose.exercise(rng, [skill], difficulty)
        answer = problem.answer
        if rng.random() < setting.share:
            answer = wrong(rng, answer)
            wrong_ones.add(index + 1)
        ids, prompt = tokenizer.encode_exercise(problem.question, problem.solution, answer)
        texts.append(
            Written(
                request=ExerciseRequest(id=index + 1, kind=Kind.EXERCISE, skills=(skill,), difficulty=difficulty),
                item=Exercise(skills=(skill,), question=problem.question, solution=problem.solution, answer=answer),
                generator="exact",
                generator_version="exact",
                prompt_version="none",
                content_hash=index,
                answer_hash=zlib.crc32(answer.encode()),
                input_ids=ids,
                prompt_tokens=prompt,
            )
        )
    return texts, frozenset(wrong_ones)


class _Stream:
    """The rows of a run in order, while its exercises arrive."""

    def __init__(self, run: Run, config: Config, texts: list[Written], history: LossHistory) -> None:
        self._run, self._config, self._texts, self._history = run, config, texts, history
        self.table = BothKinds()
        self._sampler = Sampler(cap=config.dynamics.cap, seed=config.run.seed)
        self._planner = StepPlanner(config.train, self.table, self._sampler)
        self._planner.set_textbooks([])
        self._rng = np.random.default_rng(config.run.seed)
        self._leases = self._arrived = 0
        self._gone: set[int] = set()

    @property
    def training(self) -> list[int]:
        """Real exercises that have arrived and were not dropped."""
        return [exercise for exercise in self.table.ids() if exercise not in self._gone]

    def __iter__(self) -> Iterator[Row]:
        for step in range(1, self._run.setting.steps + 1):
            while self._arrived < self._due(step):
                self._arrive()
            plans: list[RowPlan] | None = self._planner.plan(self._leases + 1, patient=False)
            if plans is None:
                return
            self._leases += len(plans)
            for plan in plans:
                yield pack(plan, lambda ref: self._texts[ref.row], self._config.train.row_tokens)

    def drop(self, step: int, exercises: list[int]) -> None:
        self._gone.update(exercises)
        self._run.dropped[step] += len(exercises)
        for exercise in exercises:
            self._sampler.drop(exercise)

    def leave(self, history: LossHistory) -> None:
        """Note what was seen."""
        run, table = self._run, self.table
        run.inline, run.probes = frozenset(table.inline), frozenset(table.planted) - table.inline
        run.planted_skill = {planted: table.skills_of(planted)[0] for planted in table.planted}
        run.visits = {exercise: history.losses_of(exercise) for exercise in (*table.ids(), *table.planted)}

    def _due(self, step: int) -> int:
        if self._run.setting.at_once:
            return WAVES
        return min(WAVES, 1 + int((step - 1) / (LAST_WAVE * self._run.setting.steps) * WAVES))

    def _arrive(self) -> None:
        size = len(self._texts) // WAVES
        for item in self._texts[self._arrived * size : (self._arrived + 1) * size]:
            number = item.request.id
            place = TextRef(segment=0, row=number - 1)
            self.table.add(item.request, place, item.prompt_tokens, item.tokens, item.answer_hash)
            self._run.wave[number] = self._arrived
            self._sampler.add(number)
        ids = np.array(list(self.table.ids()))
        for nth in range(2 * PLANTED // WAVES):
            self._plant(int(self._rng.choice(ids)), inline=bool(nth % 2))
        self._arrived += 1

    def _plant(self, question: int, inline: bool) -> None:
        answer = self.table.wrong_answer_for(question, self._rng, self._config.train.row_tokens)
        if answer is None:
            return
        number = len(self._texts) + 1 + len(self.table.planted)
        self.table.plant(number, question, answer)
        self.table.inline.update([number] if inline else [])
        self._history.mark_planted([number])
        self._sampler.add(number)
