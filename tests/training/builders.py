"""Tiny models, texts and plans for the training tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dsa_ray.records import Exercise, ExerciseRequest, Kind, PackedItem, RowPlan, TextRef, Written
from dsa_ray.training.collate import Row, pack

VOCABULARY = 61
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_NO_DROPOUT = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)

ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_GROUPED, tie_word_embeddings=True)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**_GROUPED, sliding_window=8)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_GROUPED)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_GROUPED, head_dim=8)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**_SIZES)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128, **_NO_DROPOUT)
    ),
}


def tiny_model(architecture: str = "llama", seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return ARCHITECTURES[architecture]()


def greedy(model: PreTrainedModel) -> list[int]:
    """What the model writes after a fixed prompt."""
    prompt = torch.tensor([[3, 14, 15, 9, 2]])
    with torch.no_grad():
        out = model.eval().generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=40, do_sample=False, pad_token_id=0
        )
    return out[0].tolist()


def written(exercise: int, ids: Sequence[int], prompt_tokens: int) -> Written:
    return Written(
        request=ExerciseRequest(id=exercise, kind=Kind.EXERCISE, skills=("sums",)),
        item=Exercise(skills=("sums",), question="q", solution="s", answer="a"),
        generator="test",
        generator_version="0",
        prompt_version="exercise@0",
        content_hash=exercise,
        input_ids=tuple(int(token) for token in ids),
        prompt_tokens=prompt_tokens,
    )


def library(texts: Sequence[Written]) -> Callable[[TextRef], Written]:
    """A text store: text i lies at row i of segment 0."""
    return lambda ref: texts[ref.row]


def item(text: Written, row: int, **changes: object) -> PackedItem:
    ref = TextRef(segment=0, row=row)
    fields: dict[str, object] = {
        "exercise": text.request.id,
        "prompt": ref,
        "answer": ref,
        "tokens": text.tokens,
        "loss_tokens": text.loss_tokens,
        "visit": 1,
    }
    return PackedItem(**{**fields, **changes})  # type: ignore[arg-type]


def plan(items: Sequence[PackedItem], **changes: object) -> RowPlan:
    fields: dict[str, object] = {
        "lease": 1,
        "rank": 0,
        "attempt": 0,
        "step": 1,
        "phase": "exercises",
        "progress": 0.5,
        "denominator": max(1.0, sum(i.weight * i.loss_tokens for i in items)),
        "items": tuple(items),
    }
    return RowPlan(**{**fields, **changes})  # type: ignore[arg-type]


def random_texts(lengths: Sequence[int], seed: int = 0) -> list[Written]:
    """Random tokens; the first third of each text is its prompt."""
    numbers = np.random.default_rng(seed)
    return [written(100 + i, numbers.integers(0, VOCABULARY, n), n // 3) for i, n in enumerate(lengths)]


def random_row(lengths: Sequence[int] = (12, 7, 17), *, seed: int = 0, row_tokens: int = 48, **changes: object) -> Row:
    texts = random_texts(lengths, seed)
    return pack(plan([item(text, i) for i, text in enumerate(texts)], **changes), library(texts), row_tokens)


def random_steps(steps: int, rows_per_step: int, seed: int = 0) -> list[list[Row]]:
    """Rows of several steps, each with the denominator of its whole step."""
    numbers = np.random.default_rng(seed)
    result = []
    for step in range(1, steps + 1):
        all_lengths = [numbers.integers(4, 16, 3).tolist() for _ in range(rows_per_step)]
        total = sum(n - max(1, n // 3) for lengths in all_lengths for n in lengths)
        result.append(
            [
                random_row(
                    lengths,
                    seed=1000 * step + index,
                    step=step,
                    lease=rows_per_step * step + index,
                    progress=step / steps,
                    denominator=float(total),
                )
                for index, lengths in enumerate(all_lengths)
            ]
        )
    return result
