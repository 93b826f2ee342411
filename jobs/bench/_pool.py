"""What stands around the generator pool in a benchmark: a curator that counts, an examiner, a baseline."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dsa_ray.config import Config
from dsa_ray.generation.checks import Examiner, make_examiner
from dsa_ray.generation.prompts import render
from dsa_ray.records import (
    Assignment,
    Completion,
    Exercise,
    ExerciseRequest,
    Kind,
    Rejection,
    SkillBrief,
    Textbook,
    Written,
)

LONG_EVERY = 10
"""With heavy-tailed lengths every so many requests is a textbook, of ten times the length."""


def assignments(first: int, count: int, tailed: bool) -> list[Assignment]:
    """Requests of one round; no two prompts are the same."""
    made = []
    for number in range(first, first + count):
        kind = Kind.TEXTBOOK if tailed and number % LONG_EVERY == 0 else Kind.EXERCISE
        request = ExerciseRequest(id=number, kind=kind, skills=(f"skill-{number}",), difficulty=1 + number % 5)
        brief = SkillBrief(id=f"skill-{number}", name=f"Skill number {number}", description="What it is about.")
        made.append(Assignment(request=request, skills=(brief,)))
    return made


class CountingCurator:
    """Leases what a round adds, once each, and counts accepted items and their tokens. An async actor."""

    def __init__(self) -> None:
        self._waiting: list[Assignment] = []
        self._left = 0
        self._over = False
        self._done = asyncio.Event()
        self._tokens = self._rejected = 0
        self._reasons: Counter[str] = Counter()

    async def play(self, work: list[Assignment]) -> dict[str, Any]:
        """Let the pool write these; accepted output tokens, rejections and seconds until the last is recorded."""
        self._tokens = self._rejected = 0
        self._done.clear()
        self._left = len(work)
        began = time.perf_counter()
        self._waiting = list(work)
        await self._done.wait()
        seconds = time.perf_counter() - began
        return {"tokens": self._tokens, "rejected": dict(self._reasons), "seconds": seconds}

    async def lease_requests(self, replica: str, incarnation: str, n: int) -> list[Assignment]:
        given, self._waiting = self._waiting[:n], self._waiting[n:]
        return given

    async def accept(self, segment: int, rows: Sequence[dict[str, Any]]) -> None:
        self._tokens += sum(row["output_tokens"] for row in rows)
        self._count(len(rows))

    async def reject(self, rows: Sequence[dict[str, Any]]) -> None:
        self._reasons.update(row["reason"] for row in rows)
        self._count(len(rows))

    async def generation_over(self) -> bool:
        return self._over

    async def end(self) -> None:
        self._over = True

    def _count(self, settled: int) -> None:
        self._left -= settled
        if self._left <= 0:
            self._done.set()


class RandomTextExaminer:
    """The real examiner, told that random text was a whole answer: it checks, tokenises and hashes as in a run.

    Of an exercise the first half is taken for the question, the rest for the solution.
    """

    def __init__(self, examiner: Examiner) -> None:
        self._examiner = examiner

    def examine(self, completion: Completion) -> Written | Rejection:
        if completion.finish_reason == "error":
            return self._examiner.examine(completion)
        text = f"{completion.request.id}: {completion.text}".strip()
        skills, half = completion.request.skills, len(text) // 2
        item: Textbook | Exercise = Textbook(skill=skills[0], text=text)
        if completion.request.kind is not Kind.TEXTBOOK:
            item = Exercise(skills=skills, question=text[:half], solution=text[half:], answer="1")
        return self._examiner.examine_item(replace(completion, finish_reason="stop"), item)


def examiner(config: Config, student: str, known: Sequence[int]) -> RandomTextExaminer:
    return RandomTextExaminer(make_examiner(config, student, (), known))


class OneCall:
    """`vllm.LLM` with the replica's own settings, in one process: the prompts of a round in one call of `generate`."""

    def __init__(self, config: Config, model: str, threads: int) -> None:
        from dsa_ray.engines.vllm_engine import VLLMEngine, _prepare_environment

        _prepare_environment(model, 0.0, threads)
        import torch
        from vllm import LLM, SamplingParams  # after that: torch counts its threads once

        if torch.get_num_threads() != threads:
            raise RuntimeError(
                f"one call would compute with {torch.get_num_threads()} threads, the pool with {threads}"
            )
        self._config, self._parameters = config, SamplingParams
        engine = VLLMEngine(config.teacher, model, concurrency=config.generate.in_flight, threads=threads)
        self._engine = engine
        self._llm = LLM(**engine._arguments())
        self._tokenizer = self._llm.get_tokenizer()

    def ready(self) -> bool:
        return True

    def play(self, work: list[Assignment], batch: int | None = None) -> dict[str, Any]:
        """Output tokens and seconds; with `batch` in calls of so many prompts."""
        generate = self._config.generate
        prompts, parameters = [], []
        for assignment in work:
            messages = render(assignment, ()).messages
            prompts.append({"prompt_token_ids": self._engine._prompt(self._tokenizer, messages)})
            long = assignment.request.kind is Kind.TEXTBOOK
            parameters.append(
                self._parameters(
                    max_tokens=generate.max_textbook_tokens if long else generate.max_tokens,
                    temperature=generate.temperature,
                    top_p=generate.top_p,
                )
            )
        began = time.perf_counter()
        size = batch or len(prompts)
        outputs = []
        for at in range(0, len(prompts), size):
            outputs += self._llm.generate(prompts[at : at + size], parameters[at : at + size], use_tqdm=False)
        seconds = time.perf_counter() - began
        return {"tokens": sum(len(output.outputs[0].token_ids) for output in outputs), "seconds": seconds}
