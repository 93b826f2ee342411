"""Asking a small model: greedy or sampled answers, many at once, and how many of them are right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from dsa_ray.evaluation.exam import Question
from dsa_ray.generation.prompts import student_messages

BATCH = 64


def ask(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[list[dict[str, str]]],
    max_tokens: int,
    temperature: float = 0.0,
) -> list[str]:
    """The model's answers to chat prompts, in order; greedy at temperature 0."""
    texts = [tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False) for prompt in prompts]
    encoded = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    answers = [""] * len(encoded)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        outputs = _generate(model, tokenizer, [encoded[i] for i in chosen], max_tokens, temperature)
        for i, text in zip(chosen, outputs, strict=True):
            answers[i] = text
    return answers


def exam_shares(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: Sequence[Question], max_tokens: int = 64
) -> dict[str, float]:
    """Share of right greedy answers by skill id."""
    prompts = [student_messages(question.question) for question in questions]
    answers = ask(model, tokenizer, prompts, max_tokens)
    return shares(
        (question.skill, final_line(answer) == question.answer)
        for question, answer in zip(questions, answers, strict=True)
    )


def final_line(text: str) -> str:
    """What follows the last "Answer: "."""
    return text.rpartition("Answer: ")[2].strip() if "Answer: " in text else ""


def shares(outcomes: Iterable[tuple[str, bool]]) -> dict[str, float]:
    """Share of true outcomes by key, rounded to three digits."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for key, right in outcomes:
        counts[key][0] += right
        counts[key][1] += 1
    return {key: round(right / total, 3) for key, (right, total) in counts.items()}


@torch.inference_mode()
def _generate(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[list[int]],
    max_tokens: int,
    temperature: float,
) -> list[str]:
    width = max(map(len, prompts))
    ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    output = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens, **sampling)
    return tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
