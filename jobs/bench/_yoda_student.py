"""The student of the YODA benchmark: answers by plain torch, trained by the reference engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dsa_ray.curriculum.packing import pack_step
from dsa_ray.embedded.recipe.measure import ask
from dsa_ray.engines.base import EngineAnswer, EngineCall
from dsa_ray.ladders.samples import Tokenised
from dsa_ray.records import PackedItem, RowPlan, TextRef
from dsa_ray.sections import TrainConfig
from dsa_ray.training.collate import Row, pack
from dsa_ray.training.loop import run_rank
from dsa_ray.training.student import load_student
from dsa_ray.training.torch_engine import TorchEngine

GATHER_S = 0.02
MOST_TOGETHER = 64


class TorchStudent:
    """A text engine: calls that come together are answered together, greedily."""

    def __init__(self, model: Any, tokenizer: Any, version: str) -> None:
        self.model, self.tokenizer, self.version = model.eval(), tokenizer, version
        self._waiting: list[tuple[EngineCall, asyncio.Future[EngineAnswer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Nothing to load."""

    async def generate(self, call: EngineCall) -> EngineAnswer:
        answer: asyncio.Future[EngineAnswer] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def load_weights(self, path: str, version: str) -> None:
        raise NotImplementedError("the benchmark's student is replaced, not reloaded")

    async def stop(self) -> None:
        """Nothing to end."""

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            taken, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            calls = [call for call, _ in taken]
            most = calls[0].max_tokens
            texts = await asyncio.to_thread(ask, self.model, self.tokenizer, [list(c.messages) for c in calls], most)
            for (_, answer), text in zip(taken, texts, strict=True):
                tokens = len(self.tokenizer.encode(text, add_special_tokens=False))
                if not answer.done():
                    reason = "length" if tokens >= most else "stop"
                    answer.set_result(EngineAnswer(text=text, finish_reason=reason, output_tokens=tokens))


def train(path: str, stream: Sequence[Tokenised], config: TrainConfig, out: Path) -> Any:
    """The model at `path` trained once on a stream of samples, in its order; written to `out`, and loaded anew.

    Anew, because the one that was trained has packed attention, which cannot generate.
    """
    model, tokenizer = load_student(path, config)
    engine = TorchEngine(model, config)
    run_rank(engine, list(_rows(stream, config)), config.rows_per_step, lambda report: None, config)
    engine.export_hf(str(out), tokenizer)
    return load_student(str(out), config)[0].eval()


def to_loss_tokens(found: Sequence[Tokenised], tokens: int) -> list[Tokenised]:
    """The samples over and over until they carry so many loss tokens, at most one sample more."""
    taken: list[Tokenised] = []
    carried = 0
    while carried < tokens:
        one = found[len(taken) % len(found)]
        taken.append(one)
        carried += one.loss_tokens
    return taken


def _rows(stream: Sequence[Tokenised], config: TrainConfig) -> Iterator[Row]:
    """Packed rows, whole steps of them."""
    plans = list(_plans(stream, config))
    for plan in plans:
        progress = (plan.step - 1) / max(1, len(plans) // config.rows_per_step)
        texts = {TextRef(segment=0, row=item.exercise): stream[item.exercise] for item in plan.items}
        yield pack(replace(plan, progress=progress), texts.__getitem__, config.row_tokens)


def _plans(stream: Sequence[Tokenised], config: TrainConfig) -> Iterator[RowPlan]:
    rows, left, step = config.rows_per_step, list(range(len(stream))), 0
    while left:
        window = left[: rows * config.row_tokens // 8]
        lengths = np.array([len(stream[index].input_ids) for index in window])
        packed = pack_step(lengths, config.row_tokens, rows, look_ahead=16)
        chosen = [[window[place] for place in row] for row in packed]
        taken = {index for row in chosen for index in row}
        left = [index for index in left if index not in taken]
        step += 1
        total = float(sum(stream[index].loss_tokens for index in taken))
        for row in chosen:
            items = tuple(_item(index, stream[index]) for index in row)
            yield RowPlan(
                lease=step,
                rank=0,
                attempt=0,
                step=step,
                phase="exercises",
                progress=0.0,
                denominator=total,
                items=items,
            )


def _item(index: int, one: Tokenised) -> PackedItem:
    ref = TextRef(segment=0, row=index)
    return PackedItem(
        exercise=index, prompt=ref, answer=ref, tokens=len(one.input_ids), loss_tokens=one.loss_tokens, visit=1
    )
