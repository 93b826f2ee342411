"""The held-out exam: questions that the writers never produce, alone or inside a combined exercise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

from dsa_ray.config import Config, ConfigError
from dsa_ray.embedded import syllabus
from dsa_ray.embedded.families import FAMILIES
from dsa_ray.embedded.partition import draw
from dsa_ray.evaluation.exam import ExamError, Question, load_exam
from dsa_ray.records import SkillGraph
from dsa_ray.skills.graph import names_of

DIFFICULTIES = (1, 2)
"""What the exam asks for: the difficulties at which teaching starts."""
TRIES = 400


def exam(per_skill: int, seed: int = 0, difficulties: Sequence[int] = DIFFICULTIES) -> list[Question]:
    """Up to `per_skill` different questions for every skill of the syllabus, in its order; the same for the same seed.

    Questions with different values come first; a paraphrase is used only when a skill's values are used up.
    """
    return [
        question for skill in syllabus.load().skills for question in _questions(skill.id, per_skill, seed, difficulties)
    ]


def exam_of(config: Config, name: str | None = None) -> list[Question]:
    """The questions of `evaluate.exam`, or of another exam by its name: `embedded`, or a JSONL file.

    Raises:
        ConfigError: the file cannot be used.
    """
    name = name or config.evaluate.exam
    if name == "embedded":
        return exam(config.evaluate.questions_per_skill, config.run.seed)
    try:
        return load_exam(name)
    except ExamError as error:
        raise ConfigError(f"evaluate.exam: {error}") from None


def on_graph(questions: Iterable[Question], graph: SkillGraph, others: bool = False) -> list[Question]:
    """The questions on skills of a graph, whose names an exam may write in any spelling, under these skills' ids.

    Args:
        others: with the questions on other skills, as they are.
    """
    names, all_names = names_of(graph), names_of(graph, groups=True)
    found = [(names.find(each.skill) or all_names.find(each.skill), each) for each in questions]
    return [replace(each, skill=skill or each.skill) for skill, each in found if others or skill is not None]


def _questions(skill: str, count: int, seed: int, difficulties: Sequence[int]) -> list[Question]:
    rng = Random(f"exam-{seed}-{skill}")
    family = FAMILIES[skill]
    fresh: dict[str, Question] = {}
    again: dict[str, Question] = {}
    for attempt in range(TRIES):
        if len(fresh) == count:
            break
        values = draw(rng, skill, difficulties[attempt % len(difficulties)], for_exam=True)
        problem = family.problem(values, rng.randrange(len(family.forms)))
        question = Question(skill=skill, question=problem.question, answer=problem.answer)
        if str(values) in fresh:
            again[problem.question] = question
        else:
            fresh[str(values)] = question
    asked = {question.question for question in fresh.values()}
    spare = [question for text, question in again.items() if text not in asked]
    return [*fresh.values(), *spare][:count]
