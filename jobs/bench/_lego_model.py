"""The learner of the LEGO benchmark: a small Llama that reads pieces of the task's text, or any Hugging Face model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import Any, Protocol

import torch
from _lego_settings import Setting
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from dsa_ray.embedded.synthetics.task import Sample

_PIECES = (" = val", " = not", "Input: ", ". Output: ", " Output:", " , ", "A", " + ", " = ", "?")
_PIECE = re.compile("|".join(map(re.escape, _PIECES)) + "|[a-z]|[0-9]")
_NUMBER = {piece: place for place, piece in enumerate((*_PIECES, *ascii_lowercase, *"0123456789"), start=1)}
WARMUP = 50
IGNORED = -100
CHAIN_BATCH = 128
CHAINED = 0.8
"""Share of the variables beyond the first that hang on another one."""


class Encoder(Protocol):
    """Text to token ids."""

    def __call__(self, text: str) -> list[int]: ...


def pieces(text: str) -> list[int]:
    """Ids of the pieces that the synthetic tasks are written in; 0 pads. Spaces between digits are left out."""
    return [_NUMBER[piece] for piece in _PIECE.findall(text)]


def new_learner(setting: Setting, seed: int) -> tuple[Any, Encoder]:
    """A model and its encoder."""
    torch.manual_seed(seed)
    if setting.model is not None:
        tokenizer = AutoTokenizer.from_pretrained(setting.model)
        model = AutoModelForCausalLM.from_pretrained(setting.model)
        return _placed(model), lambda text: tokenizer.encode(text, add_special_tokens=False)
    config = LlamaConfig(
        vocab_size=len(_NUMBER) + 1,
        hidden_size=setting.hidden,
        intermediate_size=3 * setting.hidden,
        num_hidden_layers=setting.layers,
        num_attention_heads=setting.heads,
        num_key_value_heads=setting.heads,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    return _placed(LlamaForCausalLM(config)), pieces


class Learner:
    """Trains and is examined. The optimizer and its schedule run through."""

    def __init__(self, setting: Setting, model: Any, encode: Encoder, steps: int) -> None:
        self._setting, self.model, self._encode = setting, model, encode
        self._optimizers = _optimizers(model, setting)
        self._steps, self._step = steps, 0

    def train(self, samples: Sequence[Sample]) -> float:
        """One step; returns its loss."""
        return self.train_texts([(sample.prompt, f" {sample.answer}") for sample in samples], self._setting.loss)

    def train_texts(self, texts: Sequence[tuple[str, str]], loss_on: str = "answer") -> float:
        ids, answers = self._batch(texts)
        targets = ids[:, 1:].masked_fill(ids[:, 1:] == 0, IGNORED) if loss_on == "all" else _only(ids, answers)
        rate = min((self._step + 1) / WARMUP, (self._steps - self._step) / max(1, self._steps - WARMUP))
        return self._step_on(ids, targets, rate)

    def train_queries(self, texts: Sequence[tuple[str, Sequence[str]]]) -> float:
        """One step on texts that ask for several values, the last piece of each; the rate stays at its peak."""
        rows = [self._encode(prompt + " , ".join(values)) for prompt, values in texts]
        ids = torch.tensor(rows, device=self.model.device)
        targets = torch.full_like(ids[:, 1:], IGNORED)
        pieces_each = len(self._encode(texts[0][1][0])) + 1
        last = slice(ids.shape[1] - 2 - pieces_each * (len(texts[0][1]) - 1), None, pieces_each)
        targets[:, last] = ids[:, 1:][:, last]
        return self._step_on(ids, targets, min((self._step + 1) / WARMUP, 1.0))

    def _step_on(self, ids: Tensor, targets: Tensor, rate: float) -> float:
        for optimizer, peak in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, _ in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._step += 1
        return loss.item()

    @torch.no_grad()
    def losses(self, samples: Sequence[Sample], batch: int = 512) -> tuple[Tensor, Tensor]:
        """Of every sample the answer's loss, nats, and whether it is the likeliest token."""
        losses, right = [], []
        for start in range(0, len(samples), batch):
            ids, answers = self._batch([(one.prompt, f" {one.answer}") for one in samples[start : start + batch]])
            targets = _only(ids, answers)
            places = targets != IGNORED
            logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits[places].float()
            losses.append(functional.cross_entropy(logits, targets[places], reduction="none").cpu())
            right.append((logits.argmax(-1) == targets[places]).float().cpu())
        return torch.cat(losses), torch.cat(right)

    def _batch(self, texts: Sequence[tuple[str, str]]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Right-padded ids [batch, longest]; of each text its length and how many tokens at its end are the answer."""
        rows = [self._encode(prompt + answer) for prompt, answer in texts]
        answers = [len(row) - len(self._encode(prompt)) for row, (prompt, _) in zip(rows, texts, strict=True)]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self.model.device)
        return ids, [(len(row), answer) for row, answer in zip(rows, answers, strict=True)]


def pretrain(learner: Learner, setting: Setting, seed: int) -> None:
    """Look-ups: recite the clause of a variable that the prompt asks for. No clause leads on to another one."""
    rng = Random(f"look-ups-{seed}")
    for _ in range(setting.lookups):
        learner.train_texts([lookup(rng, setting.task.skills) for _ in range(setting.batch)])


def pretrain_chains(learner: Learner, setting: Setting, seed: int) -> None:
    """Every variable of short chains is asked for, in one text: what was answered before helps with what comes next."""
    rng = Random(f"chains-{seed}")
    for _ in range(setting.chains):
        learner.train_queries([chain(rng, setting.task.skills) for _ in range(CHAIN_BATCH)])


def chain(rng: Random, variables: int) -> tuple[str, list[str]]:
    """Clauses of chains of one or two variables, and the variables with their values in an order of their own.

    E.g. ("Input: c = not a , f = val 0 , a = val 1. Output: ", ["f = val 0", "c = val 0", "a = val 1"])
    """
    letters, bits = rng.sample(ascii_lowercase, variables), [rng.randrange(2) for _ in range(variables)]
    roots: list[int] = []
    clauses = []
    for place, letter in enumerate(letters):
        if roots and rng.random() < CHAINED:
            root = rng.choice(roots)
            clauses.append(f"{letter} = {'val' if bits[place] == bits[root] else 'not'} {letters[root]}")
        else:
            roots.append(place)
            clauses.append(f"{letter} = val {bits[place]}")
    rng.shuffle(clauses)
    values = [f"{letter} = val {bit}" for letter, bit in zip(letters, bits, strict=True)]
    rng.shuffle(values)
    return f"Input: {' , '.join(clauses)}. Output: ", values


def lookup(rng: Random, clauses: int) -> tuple[str, str]:
    """E.g. ("Input: c = not q , a = val 1 , f = val m. Output: f", " = val m")."""
    letters = rng.sample(ascii_lowercase, 2 * clauses)
    sources = [rng.choice((letters[clauses + place], str(rng.randrange(2)))) for place in range(clauses)]
    said = [f" = {rng.choice(('val', 'not'))} {source}" for source in sources]
    asked = rng.randrange(clauses)
    whole = " , ".join(letter + clause for letter, clause in zip(letters, said, strict=False))
    return f"Input: {whole}. Output: {letters[asked]}", said[asked]


def base_model(setting: Setting, folder: Path, seed: int) -> tuple[Any, Encoder]:
    """The model that every arm starts from; made once, then read."""
    model, encode = new_learner(setting, seed)
    if setting.lookups:
        path = folder / f"base-{seed}.pt"
        if not path.exists():
            rate, matrix_rate = setting.lookup_rates or (setting.learning_rate, setting.matrix_rate)
            first = dataclasses.replace(setting, learning_rate=rate, matrix_rate=matrix_rate)
            pretrain(Learner(first, model, encode, setting.lookups), setting, seed)
            pretrain_chains(Learner(setting, model, encode, setting.chains), setting, seed)
            torch.save(model.state_dict(), path)
        model.load_state_dict(torch.load(path, weights_only=True))
    return model, encode


def _only(ids: Tensor, answers: Sequence[tuple[int, int]]) -> Tensor:
    """Targets [batch, longest - 1]: the answers' tokens alone."""
    targets = torch.full_like(ids[:, 1:], IGNORED)
    for row, (length, answer) in enumerate(answers):
        targets[row, length - answer - 1 : length - 1] = ids[row, length - answer : length]
    return targets


def _optimizers(model: Any, setting: Setting) -> list[tuple[torch.optim.Optimizer, float]]:
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and ".layers." in n and setting.matrix_rate]
    inside = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    decayed = [{"params": [p for p in rest if p.dim() > 1], "weight_decay": 0.01},
               {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0}]  # fmt: skip
    found = [(torch.optim.AdamW(decayed, lr=setting.learning_rate), setting.learning_rate)]
    if matrices:
        found.append((torch.optim.Muon(matrices, lr=setting.matrix_rate, weight_decay=0.1), setting.matrix_rate))
    return found


def _placed(model: Any) -> Any:
    return model.to("cuda" if torch.cuda.is_available() else "cpu")
