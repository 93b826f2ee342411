"""How good a teacher is: valid JSON, right answers by the exact oracle, distinct questions, target decompositions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from random import Random
from typing import Any

from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from dsa_ray.embedded import compose, syllabus
from dsa_ray.embedded.recipe.corpus import Example, prompted_examples
from dsa_ray.embedded.recipe.measure import ask, shares
from dsa_ray.generation.parse import ParseFailure, parse
from dsa_ray.generation.prompts import render
from dsa_ray.records import (
    Assignment,
    Completion,
    Exercise,
    ExerciseRequest,
    Kind,
    Prerequisites,
    SkillBrief,
    Textbook,
)
from dsa_ray.skills.names import normalise

ANSWER_TOKENS = 320
MAX_SKILLS = 64


def teacher_report(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    count: int,
    targets: Sequence[str],
    temperature: float = 1.0,
) -> dict[str, Any]:
    """Figures over `count` sampled prompts of all kinds, and over the decompositions of the targets."""
    examples = list(islice(prompted_examples(Random("report")), count))
    texts = ask(model, tokenizer, [example.prompt for example in examples], ANSWER_TOKENS, temperature)
    items = [_parsed(example.kind, text) for example, text in zip(examples, texts, strict=True)]
    outcomes = list(zip(examples, items, strict=True))
    exercises = [item for item in items if isinstance(item, Exercise)]
    return {
        "temperature": temperature,
        "prompts": count,
        "valid": shares((example.kind, item is not None) for example, item in outcomes),
        "right": shares((example.kind, _right(example, item)) for example, item in outcomes if item is not None),
        "right_exercises": _mean([compose.solve(item.question) == item.answer for item in exercises]),
        "distinct_questions": round(len({item.question for item in exercises}) / max(1, len(exercises)), 3),
        "targets": {target: decomposition(model, tokenizer, target, temperature) for target in targets},
    }


def decomposition(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, target: str, temperature: float
) -> dict[str, int]:
    """Skills and levels below a target when the teacher is asked recursively, a level at a time."""
    elementary = {skill.id for skill in syllabus.load().elementary}
    below: dict[str, list[str]] = {}
    pending = [SkillBrief(id=normalise(target), name=target)]
    while pending and len(below) < MAX_SKILLS:
        texts = ask(model, tokenizer, [_question(brief) for brief in pending], ANSWER_TOKENS, temperature)
        found = [_parsed(Kind.PREREQUISITES, text) for text in texts]
        named: dict[str, SkillBrief] = {}
        for brief, item in zip(pending, found, strict=True):
            names = item.names if isinstance(item, Prerequisites) else ()
            below[brief.id] = [normalise(name) for name, _ in names]
            named |= {
                normalise(name): SkillBrief(id=normalise(name), name=name, description=about) for name, about in names
            }
        below |= {id: [] for id in named.keys() & elementary}
        pending = [brief for id, brief in named.items() if id not in below]
    return {"skills": len(below) - 1, "levels": _depth(below, normalise(target), ())}


def _question(brief: SkillBrief) -> list[dict[str, str]]:
    request = ExerciseRequest(id=0, kind=Kind.PREREQUISITES, skills=(brief.id,))
    return render(Assignment(request=request, skills=(brief,)), ()).messages


def _depth(below: dict[str, list[str]], id: str, path: Sequence[str]) -> int:
    if id in path:
        return 0
    return max((1 + _depth(below, needed, (*path, id)) for needed in below.get(id, ())), default=0)


def _parsed(kind: str, text: str) -> Prerequisites | Textbook | Exercise | None:
    request = ExerciseRequest(id=0, kind=Kind(kind), skills=("any",))
    completion = Completion(
        request=request,
        text=text,
        finish_reason="stop",
        generator="",
        generator_version="",
        prompt_version="",
        output_tokens=0,
        seconds=0.0,
    )
    try:
        return parse(completion)
    except ParseFailure:
        return None


def _right(example: Example, item: Prerequisites | Textbook | Exercise | None) -> bool:
    """Exercises by the oracle; prerequisites by the syllabus; a page by the names and words that it must have."""
    if isinstance(item, Exercise):
        return compose.solve(item.question) == item.answer
    expected = _parsed(example.kind, example.answer)
    if isinstance(item, Prerequisites) and isinstance(expected, Prerequisites):
        return {name for name, _ in item.names} == {name for name, _ in expected.names}
    if isinstance(item, Textbook) and isinstance(expected, Textbook):
        return item.text.splitlines()[:2] == expected.text.splitlines()[:2]
    return False


def _mean(outcomes: list[bool]) -> float:
    return round(sum(outcomes) / max(1, len(outcomes)), 3)
