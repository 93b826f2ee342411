"""The arms of the ablation: a configuration each, one whole run of `dsa_ray.local`, and the exam after it."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from _ablation_control import Consequence, RandomPolicy, consequences
from _verdict_exam import accuracies_of

from dsa_ray import local
from dsa_ray.config import Config, load
from dsa_ray.curriculum import curator
from dsa_ray.curriculum.host import EVENTS
from dsa_ray.dynamics.decisions import Policy
from dsa_ray.embedded import compose, shipped
from dsa_ray.embedded.engine import exact_writer_with_errors
from dsa_ray.embedded.exam import exam
from dsa_ray.evaluation.exam import Question
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM

QUICKSTART = Path(__file__).resolve().parents[2] / "configs" / "quickstart.yaml"
ASKED, HARD = (1, 2), (3,)
"""Difficulties of the exam's questions: those at which teaching starts, and those that only `static, wide` and harder
children reach."""
NEVER = 1_000_000_000
NO_VERDICTS = (f"dynamics.burn_in_verdicts={NEVER}", "dynamics.planted_share=0", "dynamics.planted_min=0")
"""No verdict is ever given; no step goes to planted wrong answers."""
TEXTBOOKS_ALONE = (
    *NO_VERDICTS,
    "train.steps=1",
    "train.textbook_learning_rate=1.0e-4",
    "train.learning_rate=1.0e-12",
    "generate.exercises_per_skill=1",
)
"""Read so often, at the rate of the exercises they destroy what the student knew. A run has a step on exercises: here
it changes nothing."""

ARMS: Mapping[str, tuple[str, ...]] = {
    "textbooks": TEXTBOOKS_ALONE,
    "textbooks, reversed": (*TEXTBOOKS_ALONE, "train.textbook_order=reversed"),
    "textbooks, shuffled": (*TEXTBOOKS_ALONE, "train.textbook_order=shuffled"),
    "exercises": (*NO_VERDICTS, "train.textbook_passes=0"),
    "static": NO_VERDICTS,
    "static, reversed": (*NO_VERDICTS, "train.textbook_order=reversed"),
    "static, shuffled": (*NO_VERDICTS, "train.textbook_order=shuffled"),
    "static, wide": (*NO_VERDICTS, "generate.opening_difficulty=3"),
    "dynamics": (),
    "random control": (),
    "epochs": ("dynamics.schedule=epochs",),
}
"""Name -> what differs from the common settings. `base` is the student before any of them."""
ALL_ARMS = ("base", *ARMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all arms of one seed have in common."""

    seed: int
    steps: int = 520
    """Optimizer steps of two packed rows of 512 tokens, textbooks and exercises together."""
    error_rate: float = 0.15
    """Share of the teacher's exercises whose answer is wrong by a digit."""
    questions: int = 20
    """Of each skill and each kind of exam."""
    overrides: tuple[str, ...] = ()
    """Further settings of all arms, `section.key=value`."""


def config_of(arm: str, setting: Setting, storage: str, book_rows: int) -> Config:
    """The configuration of an arm.

    Args:
        book_rows: packed rows of one pass over the textbooks; what they leave of the steps goes to exercises.
    """
    common = [
        *("teacher.kind=python", "teacher.factory=dsa_ray.embedded.engine:exact_writer"),
        *("train.ranks=1", "train.rows_per_step=2", "train.precision=fp32", f"train.checkpoint_every={NEVER}"),
        *("generate.max_exercises=100000", "generate.checks.mathematics=false", "generate.exercises_per_skill=10"),
        *(f"run.seed={setting.seed}", f"run.storage={storage}", "run.name=ablation"),
    ]
    if arm.startswith("textbooks"):
        common.append(f"train.textbook_passes={math.ceil((2 * setting.steps - 1) / book_rows)}")
    else:
        left = setting.steps - (0 if arm == "exercises" else math.ceil(book_rows / 2))
        common += ["train.textbook_passes=1", f"train.steps={left}"]
    return load(QUICKSTART, (*common, *setting.overrides, *ARMS.get(arm, ())))


def run(arm: str, setting: Setting, recorded: Sequence[Consequence] = ()) -> dict[str, Any]:
    """Train one arm and examine its student.

    Args:
        recorded: for `random control`, what the verdicts of the dynamics arm of the same seed led to.
    """
    student = shipped.resolve("embedded:student")
    tokenizer = StudentTokenizer(student)
    questions = {name: exam(setting.questions, 0, each) for name, each in (("asked", ASKED), ("hard", HARD))}
    with tempfile.TemporaryDirectory(prefix="bench-ablation-") as storage:
        examiner = _examiner_factory(tokenizer, [one for each in questions.values() for one in each])
        rows, taught, known = _first_writing(setting, f"{storage}/first", examiner)
        config = config_of(arm, setting, storage, rows)
        if arm == "base":
            return _examined(student, tokenizer, config, questions, (taught, known))
        policies: list[RandomPolicy] = []

        def policy(dynamics: Any) -> Policy:
            if arm != "random control":
                return Policy(dynamics)
            policies.append(RandomPolicy(dynamics, recorded, setting.seed))
            return policies[-1]

        teacher = exact_writer_with_errors(setting.error_rate)()
        with RunFolder.create(storage, config) as folder, patch.object(curator, "Policy", policy):
            host = local.run(config, folder, teacher, examiner(config), student)
            marks = _examined(folder.student, tokenizer, config, questions, (taught, known))
            events = [row for _, each in iter_segments(folder.journal, EVENTS) for row in each]
            wrong = _wrong(folder.journal)
        return marks | _told(host.facts(), events, wrong, known, policies)


def _examiner_factory(tokenizer: StudentTokenizer, asked: Sequence[Question]) -> Callable[[Config], Examiner]:
    return lambda config: Examiner(config, tokenizer, [question.question for question in asked])


def _first_writing(
    setting: Setting, storage: str, examiner: Callable[[Config], Examiner]
) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Rows of the textbooks that every arm of this seed gets, the taught skills, and the elementary ones.

    The exact writer draws the same graph and textbooks in every arm: they are ordered before anything else.
    """
    config = load(
        QUICKSTART,
        (
            *("teacher.kind=python", "teacher.factory=dsa_ray.embedded.engine:exact_writer", "train.ranks=1"),
            *("train.rows_per_step=1", "generate.exercises_per_skill=1", "generate.replay=0"),
            *(f"run.seed={setting.seed}", f"run.storage={storage}", "run.name=first", *setting.overrides),
        ),
    )
    with RunFolder.create(storage, config) as folder:
        host = local.generate(config, folder, exact_writer_with_errors(0.0)(), examiner(config))
        supply = host.curator.supply
        return host.curator.planner.textbook_steps, supply.taught, tuple(sorted(supply.elementary))


def _examined(
    student: str,
    tokenizer: StudentTokenizer,
    config: Config,
    questions: Mapping[str, Sequence[Question]],
    skills: tuple[Sequence[str], Sequence[str]],
) -> dict[str, Any]:
    """Mean over the skills of the share of right answers: taught ones at both difficulties, elementary ones apart."""
    taught, known = skills
    asked = [one for one in questions["asked"] if one.skill in {*taught, *known}]
    hard = [one for one in questions["hard"] if one.skill in taught]
    by_skill = accuracies_of(student, tokenizer, config.train, asked)
    harder = accuracies_of(student, tokenizer, config.train, hard)
    return {
        "taught": float(np.mean([by_skill[skill] for skill in taught if skill in by_skill])),
        "hard": float(np.mean(list(harder.values()))),
        "elementary": float(np.mean([by_skill[skill] for skill in known if skill in by_skill])),
        "by_skill": by_skill,
        "hard_by_skill": harder,
    }


def _wrong(journal: str) -> set[int]:
    """Ids of the exercises whose answer is wrong."""
    rows = (row for _, each in iter_segments(journal, STREAM) for row in each)
    exercises = ((row["id"], row["item"]) for row in rows if "question" in row["item"])
    return {number for number, item in exercises if compose.solve(item["question"]) != item["answer"]}


def _told(
    facts: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]],
    wrong: set[int],
    known: Sequence[str],
    policies: Sequence[RandomPolicy],
) -> dict[str, Any]:
    found = consequences(events, known)
    dropped = {row["exercise"] for row in events if row["event"] == "verdict" and "drop" in row["decision"]["actions"]}
    return {
        "tokens": sum(phase["tokens"] for phase in facts["metrics"].values()),
        "steps": facts["status"]["step"],
        "textbook_steps": facts["status"]["textbook_steps"],
        "exercises": len(facts["exercises"]),
        "wrong": len(wrong),
        "dropped": len(dropped),
        "dropped_wrong": len(dropped & wrong),
        "verdicts": facts["verdicts"],
        "ordered": dict(Counter(kind for one in found for kind, _ in one.children)),
        "not_dealt": sum(len(one.children) + ("drop" in one.actions) for each in policies for one in each.left),
        "consequences": [asdict(one) for one in found],
    }
