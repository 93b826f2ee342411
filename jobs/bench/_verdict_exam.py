"""The exam of a student that was just trained, by greedy decoding in this process."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from dsa_ray.embedded.exam import exam
from dsa_ray.evaluation.exam import Question
from dsa_ray.generation.answers import final_answer
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.sections import TrainConfig
from dsa_ray.training.student import load_student
from dsa_ray.training.torch_engine import TorchEngine

MAX_TOKENS = 64
BATCH = 128


def accuracies(
    engine: TorchEngine, tokenizer: StudentTokenizer, config: TrainConfig, skills: Sequence[str], per_skill: int
) -> Mapping[str, float]:
    """Share of right answers for each of the skills; an answer is right where it is the expected one to the letter."""
    questions = [question for question in exam(per_skill) if question.skill in skills]
    with tempfile.TemporaryDirectory() as folder:  # loaded anew: packing has changed the model's attention
        engine.export_hf(folder, tokenizer.tokenizer)
        return accuracies_of(folder, tokenizer, config, questions)


def accuracies_of(
    student: str, tokenizer: StudentTokenizer, config: TrainConfig, questions: Sequence[Question]
) -> Mapping[str, float]:
    """The same for a student in a folder and any questions."""
    model = load_student(student, config)[0].eval()
    prompts = [tokenizer.prompt_ids(question.question) for question in questions]
    right: dict[str, list[bool]] = defaultdict(list)
    for question, text in zip(questions, _answers(model, tokenizer, prompts), strict=True):
        right[question.skill].append(final_answer(text) == question.answer)
    return {skill: sum(found) / len(found) for skill, found in right.items()}


def _answers(model: nn.Module, tokenizer: StudentTokenizer, prompts: Sequence[tuple[int, ...]]) -> Iterator[str]:
    end = tokenizer.tokenizer.eos_token_id
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        longest = max(map(len, batch))
        ids = torch.tensor([[end] * (longest - len(prompt)) + list(prompt) for prompt in batch])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
        with torch.no_grad():
            written = model.generate(  # type: ignore[operator]
                input_ids=ids, attention_mask=mask, max_new_tokens=MAX_TOKENS, do_sample=False, pad_token_id=end
            )
        yield from tokenizer.tokenizer.batch_decode(written[:, longest:], skip_special_tokens=True)
