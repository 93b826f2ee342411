"""The whole algorithm in one process: the reference, the debugger, and the oracle of the ring.

    run       the same parts as the ring, called one after another: ask, examine, record, plan, train, observe
    generate  the writing alone
    replay    trains a recorded run's leases again with a plain torch engine, and judges the losses anew

No Ray, no vLLM, no DeepSpeed: the teacher is any text engine, the trainer is `training.torch_engine`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsa_ray.config import Config
from dsa_ray.curriculum.host import EVENTS, CuratorHost
from dsa_ray.curriculum.leases import row_plan
from dsa_ray.curriculum.planner import EXERCISES
from dsa_ray.dynamics.history import LossHistory
from dsa_ray.dynamics.verdicts import Judge
from dsa_ray.engines.base import TextEngine
from dsa_ray.engines.calls import call_for, completion
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.prompts import render
from dsa_ray.records import Assignment, Completion, Kind, RowPlan, Scope, Verdict, Written
from dsa_ray.skills.start import elementary_in, graph_of
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.quarantine import standing_verdicts
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, TextStore, numbers, request_from_row, written_row
from dsa_ray.streams.batches import rejection_row
from dsa_ray.training.collate import pack
from dsa_ray.training.loop import StepReport, run_rank
from dsa_ray.training.student import load_student
from dsa_ray.training.torch_engine import TorchEngine

REPLICA, INCARNATION = "local", "0"


def run(config: Config, folder: RunFolder, teacher: TextEngine, examiner: Examiner, student: str) -> CuratorHost:
    """A whole run as one plain loop; generation and training take turns, step by step.

    Args:
        folder: where journal, graph and student go.
        teacher: started by the caller.
        student: folder of the base student.

    Raises:
        RuntimeError: nothing is left to write and nothing can be trained on.
    """
    host = CuratorHost(config, folder.path)
    host.restore()
    host.start()
    model, tokenizer = load_student(student, config.train)
    engine = TorchEngine(model, config.train)
    attempt = host.begin_attempt(None)
    writer = _Writer(config, host, teacher, examiner, folder.journal)
    rows = _Rows(config, host, writer, folder.journal, attempt)

    def observe(step: StepReport) -> None:
        rows.observe(step)
        host.take_edits(host.poll_edits())
        host.write_events(host.take_events())
        folder.append_metrics(host.drain_metrics())

    run_rank(engine, rows, config.train.rows_in_step, observe, config.train)
    engine.export_hf(folder.student, tokenizer)
    host.write_events(host.take_events())
    return host


def generate(config: Config, folder: RunFolder, teacher: TextEngine, examiner: Examiner) -> CuratorHost:
    """Only the writing: the graph, textbooks and exercises that a configuration orders, with their reviews.

    Raises:
        RuntimeError: nothing can be written any more and something is still wanted.
    """
    host = CuratorHost(config, folder.path, scope=Scope.TEXTS)
    host.restore()
    host.start()
    writer = _Writer(config, host, teacher, examiner, folder.journal)
    while not host.generation_over:
        if not writer.write() and not host.generation_over:
            raise RuntimeError(f"nothing to write and generation is not over: {host.status()}")
        host.write_events(host.take_events())
    host.write_events(host.take_events())
    return host


class _Writer:
    """Replica, generation stream and recorder in one: one batch of requests at a time."""

    def __init__(
        self, config: Config, host: CuratorHost, teacher: TextEngine, examiner: Examiner, journal: str
    ) -> None:
        self._config, self._host, self._teacher, self._examiner = config, host, teacher, examiner
        self._journal = SegmentWriter(journal, STREAM)
        self._texts = TextStore(journal)

    def write(self) -> bool:
        """Have one batch written; False when nothing is requested."""
        assignments = self._host.curator.lease_requests(REPLICA, INCARNATION, self._config.generate.in_flight)
        results = [self._examiner.examine(completion) for completion in asyncio.run(self._complete(assignments))]
        written = [result for result in results if isinstance(result, Written)]
        if written:
            rows = [written_row(item) for item in written]
            self._host.accept(self._journal.write(rows), [numbers(row, place) for place, row in enumerate(rows)])
        failed = [result for result in results if not isinstance(result, Written)]
        self._host.curator.reject([rejection_row(rejection) for rejection in failed])
        return bool(assignments)

    async def _complete(self, assignments: Sequence[Assignment]) -> list[Completion]:
        return list(await asyncio.gather(*(self._completion(assignment) for assignment in assignments)))

    async def _completion(self, assignment: Assignment) -> Completion:
        parents = tuple(self._texts.get(ref) for ref in assignment.parents)
        prompt = render(assignment, parents, self._config.generate.prompts)
        answer = await self._teacher.generate(call_for(assignment, parents, prompt, self._config))
        origin = self._config.teacher.generator, f"{self._teacher.version}/{REPLICA}.{INCARNATION}"
        return completion(assignment, prompt, answer, origin, seconds=0.0)


class _Rows:
    """The training stream of all ranks, in step order, which lets the teacher write one batch per step."""

    def __init__(self, config: Config, host: CuratorHost, writer: _Writer, journal: str, attempt: int) -> None:
        self._config, self._host, self._writer, self._attempt = config, host, writer, attempt
        self._texts = TextStore(journal)
        self._plans: list[RowPlan] = []

    def __iter__(self) -> Any:
        while True:
            wrote = self._writer.write()
            per_rank = [self._lease(rank) for rank in range(self._config.train.ranks)]
            if any(rows is None for rows in per_rank):
                return
            self._plans = [row for rows in per_rank if rows for row in rows]
            if not self._plans and not wrote and not self._host.curator.supply.book.unsettled:
                raise RuntimeError(f"nothing to write and nothing to train on: {self._host.status()}")
            for plan in self._plans:
                yield pack(plan, self._texts.get, self._config.train.row_tokens)

    def observe(self, step: StepReport) -> None:
        """Report the step as the ranks of the ring would: each its own rows."""
        losses = dict(zip(step.ids.tolist(), step.losses.tolist(), strict=True))
        shared = {name: getattr(step, name) for name in ("step", "phase", "lr", "loss", "grad_norm", "step_s")}
        for rank in range(self._config.train.ranks):
            rows = [row for row in self._plans if row.rank == rank]
            ids = [item.exercise for row in rows for item in row.items if item.loss_tokens]
            report = {**shared, "rank": rank, "attempt": self._attempt, "leases": [row.lease for row in rows]}
            report |= {"tokens": sum(item.tokens for row in rows for item in row.items), "wait_s": 0.0}
            report |= {"loss_tokens": sum(item.loss_tokens for row in rows for item in row.items)}
            self._host.observe(report, np.array(ids), np.array([losses[exercise] for exercise in ids]))

    def _lease(self, rank: int) -> list[RowPlan] | None:
        return self._host.curator.lease_rows(rank, self._attempt, self._config.train.rows_per_step)


@dataclass(slots=True)
class Replay:
    """A recorded run beside its replay."""

    steps: int = 0
    compared: int = 0
    """Losses compared."""
    worst_loss_error: float = 0.0
    """Largest difference of one example's loss, nats."""
    verdicts: dict[tuple[int, int], str] = field(default_factory=dict)
    """(exercise, cycle) -> class, as the replay judges."""
    recorded: dict[tuple[int, int], str] = field(default_factory=dict)
    """The same as the run recorded it."""


def replay(folder: RunFolder, student: str) -> Replay:
    """Train the recorded leases again, in their order, with plain torch, and judge the losses that come out.

    Args:
        folder: a run that was trained with `train.precision=fp32`.
        student: folder of the base student that the run began with.
    """
    config = folder.config
    record = _Record(row for _, rows in iter_segments(folder.journal, EVENTS) for row in rows)
    model, _ = load_student(student, config.train)
    texts = TextStore(folder.journal)
    standing = standing_verdicts(folder.journal)
    result = Replay(recorded={(row["exercise"], row["cycle"]): row["verdict"] for row in standing})
    elementary = elementary_in(config.graph, graph_of(folder))
    history, judge = LossHistory(config.dynamics), Judge(config.dynamics, elementary.issuperset)
    history.mark_planted(record.planted)
    written = (request_from_row(row) for _, rows in iter_segments(folder.journal, STREAM) for row in rows)
    skills = {request.id: request.skills for request in written}
    skills |= {planted: skills[question] for planted, question in record.planted.items()}

    def compare(step: StepReport) -> None:
        plans = record.steps[step.step]
        result.steps += 1
        often = Counter(step.ids.tolist())
        for exercise, loss in zip(step.ids.tolist(), step.losses.tolist(), strict=True):
            if often[exercise] > 1:  # chunks of one long textbook share its id
                continue
            if (step.step, exercise) not in record.losses:  # refused: it was not finite
                continue
            error = abs(loss - record.losses[step.step, exercise])
            result.worst_loss_error = max(result.worst_loss_error, error)
            result.compared += 1
        if step.phase == EXERCISES:
            tokens = {item.exercise: item.loss_tokens for plan in plans for item in plan.items}
            left_out = record.textbooks | record.held_out
            kept = np.array([exercise not in left_out for exercise in step.ids.tolist()], bool)
            ids = step.ids[kept]
            counts = [tokens[exercise] for exercise in ids.tolist()]
            history.observe(step.step, ids, step.visits[kept], step.losses[kept], counts)
        history.close_step(step.step)
        _remember(result, judge.verdicts(history.completed(), history.is_planted, skills.__getitem__))

    engine = TorchEngine(model, config.train)
    for plans in record.steps.values():  # each with the ranks that there were
        rows = [pack(plan, texts.get, config.train.row_tokens) for plan in plans]
        run_rank(engine, rows, len(rows), compare, config.train)
    return result


class _Record:
    """What a run's events say of its training: for every step the leases and losses that stand."""

    def __init__(self, events: Iterable[Mapping[str, Any]]) -> None:
        self.steps: dict[int, list[RowPlan]] = {}
        self.losses: dict[tuple[int, int], float] = {}
        self.planted: dict[int, int] = {}  # whose question
        self.textbooks: set[int] = set()
        self.held_out: set[int] = set()
        for event in events:
            self._take(event)
        observed = {step for step, _ in self.losses}
        self.steps = {step: self.steps[step] for step in sorted(observed)}

    def _take(self, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "attempt":  # what the one before did after the checkpoint does not count
                step = event["step"]
                self.steps = {key: plans for key, plans in self.steps.items() if key <= step}
                self.losses = {key: loss for key, loss in self.losses.items() if key[0] <= step}
            case "lease":
                plans = [row_plan(row) for row in event["rows"]]
                self.steps[plans[0].step] = plans
            case "observe":
                step = event["step"]
                self.losses |= dict(zip(((step, i) for i in event["ids"]), event["losses"], strict=True))
            case "hold_out":
                self.held_out.add(event["id"])
            case "plant":
                self.planted[event["id"]] = event["question"]
            case "request" if event["kind"] == Kind.TEXTBOOK:
                self.textbooks.add(event["id"])


def _remember(result: Replay, verdicts: Iterable[Verdict]) -> None:
    for verdict in verdicts:
        result.verdicts[verdict.exercise, verdict.cycle] = verdict.verdict.value
