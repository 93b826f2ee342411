"""Text, tokenizer and packed rows of the training benchmarks: the same calls as the ring's training stream."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from dsa_ray.curriculum.packing import pack_step
from dsa_ray.embedded import compose, syllabus
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Exercise, ExerciseRequest, Kind, PackedItem, RowPlan, TextRef, Written
from dsa_ray.training.collate import Row, from_batch, pack, to_batch

LOOK_AHEAD = 64
"""Examples beyond a step's tokens from which the packer fills gaps."""
WAITING_ROWS = 64


class Text(NamedTuple):
    question: str
    solution: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Which rows one rank gets."""

    texts: tuple[Text, ...]
    tokenizer: str
    row_tokens: int
    rows_per_step: int
    rank: int = 0
    ranks: int = 1
    all_tokens: bool = False
    """Loss on every token, as in pre-training; else on the answers."""


def load_texts(path: str | None) -> tuple[Text, ...]:
    """Question, solution and answer from GSM8K's JSONL (a file or a folder of them); without a path, made up here."""
    if path is None:
        rng, skills = Random(0), [skill.id for skill in syllabus.load().taught]
        problems = (compose.exercise(rng, rng.sample(skills, 2), rng.randint(1, 3)) for _ in range(4000))
        return tuple(Text(problem.question, problem.solution, problem.answer) for problem in problems)
    files = sorted(Path(path).glob("*.jsonl")) if Path(path).is_dir() else [Path(path)]
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines() if line.strip()]
    if not lines:
        raise SystemExit(f"--text {path}: holds no JSONL lines with `question` and `answer`")
    return tuple(_text(line) for line in lines)


def make_tokenizer(texts: Sequence[Text], vocabulary: int, folder: str) -> str:
    """Train a byte-level BPE on the texts; returns the folder it lies in."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<pad>", "<eos>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator((part for text in texts for part in text), trainer)
    PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>").save_pretrained(folder)
    return folder


def rows(feed: Feed, limit: int | None = None) -> Iterator[Row]:
    """Tokenise, pack and lay out, step by step and without end (or `limit` steps): this rank's rows of every step."""
    tokenizer = StudentTokenizer(feed.tokenizer)
    waiting: list[Written] = []
    stream = _written(feed, tokenizer)
    count, lease, step = feed.ranks * feed.rows_per_step, 0, 0
    while limit is None or step < limit:
        step += 1
        while sum(text.tokens for text in waiting) < count * feed.row_tokens or len(waiting) < LOOK_AHEAD:
            waiting.append(next(stream))
        lengths = np.array([text.tokens for text in waiting])
        chosen = pack_step(lengths, feed.row_tokens, count)
        total = float(sum(waiting[index].loss_tokens for row in chosen for index in row))
        for number, indices in enumerate(chosen):
            lease += 1
            if number % feed.ranks == feed.rank:
                plan = _plan(waiting, indices, lease=lease, step=step, rank=feed.rank, denominator=total)
                row = pack(plan, lambda ref, texts=waiting: texts[ref.row], feed.row_tokens)
                yield from_batch(to_batch(row))
        taken = {index for row in chosen for index in row}
        waiting = [text for index, text in enumerate(waiting) if index not in taken]


class RowProcess:
    """The rows, made in a process of their own that keeps a bounded number of them ready."""

    def __init__(self, feed: Feed, cpus: Sequence[int] = ()) -> None:
        context = mp.get_context("spawn")
        self._queue: Any = context.Queue(WAITING_ROWS)
        self._process = context.Process(target=_fill, args=(feed, tuple(cpus), self._queue), daemon=True)
        self._process.start()

    def __iter__(self) -> Iterator[Row]:
        while True:
            yield self._queue.get()

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _fill(feed: Feed, cpus: tuple[int, ...], queue: Any) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if cpus:
        os.sched_setaffinity(0, cpus)
    for row in rows(feed):
        queue.put(row)


def _text(line: dict[str, str]) -> Text:
    solution, _, answer = line["answer"].rpartition("####")
    return Text(line["question"], solution, answer)


def _written(feed: Feed, tokenizer: StudentTokenizer) -> Iterator[Written]:
    """Every text once per epoch, in a new order each time, tokenised anew."""
    rng, number = Random(1), 0
    while True:
        order = list(range(len(feed.texts)))
        rng.shuffle(order)
        for index in order:
            text = feed.texts[index]
            ids, prompt = tokenizer.encode_exercise(text.question, text.solution, text.answer)
            if len(ids) <= feed.row_tokens:
                number += 1
                yield _record(number, ids, 0 if feed.all_tokens else prompt, text)


def _record(number: int, ids: tuple[int, ...], prompt_tokens: int, text: Text) -> Written:
    return Written(
        request=ExerciseRequest(id=number, kind=Kind.EXERCISE, skills=("text",)),
        item=Exercise(skills=("text",), question=text.question, solution=text.solution, answer=text.answer),
        generator="file",
        generator_version="0",
        prompt_version="0",
        content_hash=number,
        input_ids=ids,
        prompt_tokens=prompt_tokens,
    )


def _plan(
    waiting: Sequence[Written], indices: Sequence[int], *, lease: int, step: int, rank: int, denominator: float
) -> RowPlan:
    items = []
    for index in indices:
        text, ref = waiting[index], TextRef(segment=0, row=index)
        items.append(
            PackedItem(
                exercise=text.request.id,
                prompt=ref,
                answer=ref,
                tokens=text.tokens,
                loss_tokens=text.loss_tokens,
                visit=1,
            )
        )
    return RowPlan(
        lease=lease,
        rank=rank,
        attempt=0,
        step=step,
        phase="exercises",
        progress=0.5,
        denominator=denominator,
        items=tuple(items),
    )
