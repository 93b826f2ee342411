"""Building the two models: tokenizer, training, figures, and the files in `dsa_ray/embedded/models/`."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from dsa_ray.embedded import syllabus
from dsa_ray.embedded.exam import exam
from dsa_ray.embedded.recipe.corpus import (
    JSON_PIECES,
    Example,
    constant_texts,
    replay_examples,
    revision_examples,
    student_examples,
    teacher_examples,
)
from dsa_ray.embedded.recipe.measure import exam_shares
from dsa_ray.embedded.recipe.small_model import Schedule, Shape, batches, encode, new_model, train
from dsa_ray.embedded.recipe.teacher_report import teacher_report
from dsa_ray.embedded.recipe.tokenizer import train_tokenizer

MODELS = Path(__file__).parents[1] / "models"
FINGERPRINT_EXAMPLES = 1200
TOKENIZER_EXAMPLES = 8000
EXAM_QUESTIONS = 12
TEACHER_PROMPTS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A further round of training: it starts from the weights of the one before as they are stored, in bfloat16."""

    examples: Callable[[Random], Iterator[Example]]
    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides what a model becomes."""

    name: str
    examples: Callable[[Random], Iterator[Example]]
    """Endless training examples."""
    shape: Shape
    schedule: Schedule
    vocabulary: int
    """Tokens besides the constant texts."""
    seed: int = 1
    revisions: tuple[Revision, ...] = ()

    @property
    def total_steps(self) -> int:
        return sum(round.schedule.steps for round in (self, *self.revisions))


TEACHER = Recipe(
    name="teacher",
    examples=teacher_examples,
    shape=Shape(hidden=160, layers=5, heads=5, inner=448),
    schedule=Schedule(steps=7000, tokens_per_step=1024),
    vocabulary=1280,
    revisions=(
        Revision(
            examples=revision_examples,
            schedule=Schedule(steps=3000, tokens_per_step=1024, learning_rate=1.5e-3, matrix_rate=0.01),
        ),
        Revision(
            examples=replay_examples,
            schedule=Schedule(steps=3000, tokens_per_step=1024, learning_rate=1.5e-3, matrix_rate=0.01),
        ),
    ),
)
STUDENT = Recipe(
    name="student",
    examples=student_examples,
    shape=Shape(hidden=128, layers=5, heads=4, inner=384),
    schedule=Schedule(steps=5000, tokens_per_step=1024),
    vocabulary=640,
)


def fingerprint(recipe: Recipe) -> str:
    """Hash of the recipe's settings and of the first texts it would train on: another prompt, another fingerprint."""
    settings = [asdict(recipe.shape), asdict(recipe.schedule), recipe.vocabulary, recipe.seed]
    digest = hashlib.blake2b(json.dumps(settings).encode(), digest_size=8)
    for example in islice(recipe.examples(Random(0)), FINGERPRINT_EXAMPLES):
        digest.update(json.dumps([example.prompt, example.answer]).encode())
    for revision in recipe.revisions:
        digest.update(json.dumps(asdict(revision.schedule)).encode())
        for example in islice(revision.examples(Random(0)), FINGERPRINT_EXAMPLES):
            digest.update(json.dumps([example.prompt, example.answer]).encode())
    return digest.hexdigest()


def build(
    recipe: Recipe, folder: Path, report: Callable[[int, float], None], threads: int = 2, device: str = "cpu"
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, float]:
    """Train the model and write it to `folder` in Hugging Face format, bfloat16. Returns it with the seconds taken."""
    torch.set_num_threads(threads)
    started = time.monotonic()
    tokenizer = _tokenizer(recipe)
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    model = new_model(recipe.shape, tokenizer, recipe.seed).to(device)
    _train(model, tokenizer, recipe, recipe.seed, report)
    _store(model, folder)
    done = recipe.schedule.steps
    for revision in recipe.revisions:
        model = revise(revision, tokenizer, folder, recipe.seed, partial(_later, report, done), device)
        done += revision.schedule.steps
    return model.to("cpu"), tokenizer, time.monotonic() - started


def revise(
    revision: Revision,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    seed: int,
    report: Callable[[int, float], None],
    device: str = "cpu",
) -> LlamaForCausalLM:
    """A further round on the model that lies in `folder`, written there again."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
    _train(model, tokenizer, revision, seed, report)
    _store(model, folder)
    return model


def _later(report: Callable[[int, float], None], done: int, step: int, loss: float) -> None:
    report(done + step, loss)


def _train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    round: Recipe | Revision,
    seed: int,
    report: Callable[[int, float], None],
) -> None:
    encoded = (encode(tokenizer, example) for example in round.examples(Random(seed)))
    data = batches(encoded, round.schedule.tokens_per_step, Random(seed))
    train(model, data, round.schedule, report)


def _store(model: LlamaForCausalLM, folder: Path) -> None:
    """Write the weights as bfloat16; the model then has the values that were written."""
    model.to(torch.bfloat16).save_pretrained(folder)
    model.float()


def write_recipe(recipe: Recipe, folder: Path, seconds: float, measured: dict[str, Any]) -> None:
    """`recipe.json`: what the model was made from and what it can do."""
    content = {
        "fingerprint": fingerprint(recipe),
        "seed": recipe.seed,
        "steps": recipe.total_steps,
        "tokens_per_step": recipe.schedule.tokens_per_step,
        "shape": asdict(recipe.shape),
        "seconds": round(seconds),
        "measured": measured,
    }
    (folder / "recipe.json").write_text(json.dumps(content, indent=2) + "\n")


def student_report(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Accuracy of the base student on the exam: elementary skills, taught skills, every skill."""
    by_skill = exam_shares(model, tokenizer, exam(EXAM_QUESTIONS))
    known = syllabus.load()

    def mean(skills: tuple[syllabus.SyllabusSkill, ...]) -> float:
        return round(sum(by_skill[skill.id] for skill in skills) / len(skills), 3)

    return {"elementary": mean(known.elementary), "taught": mean(known.taught), "per_skill": by_skill}


def report_of(recipe: Recipe, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What the built model can do, for `recipe.json`."""
    if recipe.name == "student":
        return student_report(model, tokenizer)
    targets = ("differential calculus", "integral calculus", syllabus.load().held_out)
    return teacher_report(model, tokenizer, TEACHER_PROMPTS, targets)


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """The same recipe with fewer steps in each round, to try out a change."""
    revisions = tuple(replace(one, schedule=replace(one.schedule, steps=steps)) for one in recipe.revisions)
    return replace(recipe, schedule=replace(recipe.schedule, steps=steps), revisions=revisions)


def _tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    examples = islice(recipe.examples(Random(recipe.seed + 1)), TOKENIZER_EXAMPLES)
    texts = ["\n".join([*(message["content"] for message in example.prompt), example.answer]) for example in examples]
    seen = "\n".join(texts)
    constants = [text for text in (*constant_texts(), *JSON_PIECES) if text in seen]
    return train_tokenizer(texts, constants, recipe.vocabulary)
