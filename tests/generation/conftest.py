"""Builders for prompts, completions and a small byte-level tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.records import Assignment, Completion, Exercise, ExerciseRequest, Kind, SkillBrief, Written


def make_request(kind: Kind = Kind.EXERCISE, **fields: Any) -> ExerciseRequest:
    return ExerciseRequest(**{"id": 7, "kind": kind, "skills": ("chain-rule",), "difficulty": 2, **fields})


def make_completion(text: str, kind: Kind = Kind.EXERCISE, **fields: Any) -> Completion:
    request = fields.pop("request", None) or make_request(kind, **({"id": fields.pop("id")} if "id" in fields else {}))
    defaults = {
        "finish_reason": "stop",
        "generator": "teacher",
        "generator_version": "0/a",
        "prompt_version": "exercise@00000000",
        "output_tokens": 5,
        "seconds": 0.1,
    }
    return Completion(request=request, text=text, **{**defaults, **fields})


def make_written(question: str = "What is 1 + 1?", solution: str = "1 + 1 = 2", answer: str = "2") -> Written:
    return Written(
        request=make_request(id=1),
        item=Exercise(skills=("chain-rule",), question=question, solution=solution, answer=answer),
        generator="teacher",
        generator_version="0/a",
        prompt_version="exercise@00000000",
        content_hash=1,
    )


def make_assignment(kind: Kind, *names: str, **fields: Any) -> Assignment:
    briefs = tuple(SkillBrief(id=name.lower(), name=name, prerequisites=("Limits",)) for name in names or ("Chain",))
    return Assignment(request=make_request(kind, **fields), skills=briefs)


def save_tokenizer(folder: Path, *, eos: bool = True, template: str | None = None) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<s>", "</s>"]
    vocab = {token: index for index, token in enumerate([*specials, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokens = {"bos_token": "<s>", "eos_token": "</s>"} if eos else {"bos_token": "<s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **tokens)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def build_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    return lambda **options: save_tokenizer(tmp_path_factory.mktemp("tokenizer"), **options)
