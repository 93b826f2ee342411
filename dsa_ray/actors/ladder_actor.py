"""Ladders beside a run that trains (YODA): what verdicts want climbed is climbed, and taught as soon as it is known.

curator  -> a lease   an exercise of a skill that stays hard, and ids for what comes of it
ladder   <-> teacher and student replicas of the run, the student on its newest published weights
samples  -> recorder  durable, then exercises like any other       ladder -> journal `ladders`, every turn
curator  <- over      it is not given out again
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from dsa_ray.actors import patient
from dsa_ray.actors.named_replicas import NamedReplicas
from dsa_ray.actors.whereabouts import note_process
from dsa_ray.config import Config
from dsa_ray.embedded import shipped
from dsa_ray.embedded.exam import exam_of
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.generation.checks import make_examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.ladders.ladder import Ladder, Shape
from dsa_ray.ladders.samples import as_exercise, sample_id, sample_row, samples, tokenised
from dsa_ray.records import LadderLease
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, TextStore, written_row
from dsa_ray.streams.climber import Answering, Basic, Climber

CLIMBED = "ladders"
"""The journal stream that holds ladders that are over."""
ASKED_AGAIN = ("mixed", "student_failed", "teacher_input_tokens", "teacher_output_tokens")
"""What a climber counts beside its ladders' own counts, and `rejected.<reason>`."""
LOOK_S = 1.0
"""Between questions to the curator."""


def make_climber(config: Config, path: str, teachers: Sequence[str], student: str) -> Climber:
    """A climber between the replicas of these names, inside the process that will use it."""
    yoda, patience_s = config.yoda, config.watch.engine_start_s
    journal = RunFolder.open(path).journal
    held_out = [question.question for question in exam_of(config)]
    known = [row["content_hash"] for _, rows in iter_segments(journal, STREAM) for row in rows]
    base = shipped.resolve(config.student.model)
    return Climber(
        NamedReplicas(teachers, patience_s),
        NamedReplicas([student], patience_s),
        make_examiner(config, base, held_out, known, journal).examine,
        AnswerChecker(config.evaluate.answer_timeout_s),
        Shape(generalized=yoda.generalized, harder=yoda.harder, refinements=yoda.refinements),
        Answering(
            max_tokens=config.evaluate.max_tokens,
            temperature=yoda.temperature,
            retry_temperature=yoda.retry_temperature,
            prompts=config.generate.prompts,
            seed=config.run.seed,
        ),
    )


@ray.remote
class LadderActor:
    """Climbs until the curator says that generation is over. A restart climbs anew what was under way; what had been
    taught of it keeps its ids, so nothing counts twice.

    Args:
        config: of the run.
        path: its folder.
        names: of the run's actors: `curator`, `recorder`, `student`.
        teachers: names of the teachers' replicas.
    """

    def __init__(self, config: Config, path: str, names: Mapping[str, str], teachers: Sequence[str]) -> None:
        note_process("ladders")
        journal = RunFolder.open(path).journal
        self._config = config
        self._curator, self._recorder = ray.get_actor(names["curator"]), ray.get_actor(names["recorder"])
        self._texts, self._journal = TextStore(journal), SegmentWriter(journal, CLIMBED)
        self._writing = asyncio.Lock()
        self._climber = make_climber(config, path, teachers, names["student"])
        self._tokenizer = StudentTokenizer(shipped.resolve(config.student.model), config.generate.prompts)
        self._told: Counter[str] = Counter()

    async def run(self) -> None:
        """
        Raises:
            EngineError: no replica could be reached for `watch.engine_start_s`.
            ActorAway: the curator or the recorder could not be for `watch.stall_s`.
        """
        climbing: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                room = self._config.yoda.at_once - len(climbing)
                due = await self._tell(self._curator, "lease_ladders", list(climbing), room)
                if due is None:
                    return
                for lease in due:
                    climbing[lease.exercise] = asyncio.create_task(self._climb(lease))
                if climbing:
                    await asyncio.wait(climbing.values(), timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(LOOK_S)
                for exercise in [exercise for exercise, task in climbing.items() if task.done()]:
                    climbing.pop(exercise).result()
        finally:
            for task in climbing.values():
                task.cancel()

    async def _climb(self, lease: LadderLease) -> None:
        written = await asyncio.to_thread(self._texts.get, lease.ref)
        basic = Basic.of(written, lease.skills)
        ladder = await self._climber.climb(basic)
        rows, too_long = await asyncio.to_thread(self._rows, ladder, lease.first, basic.difficulty)
        if rows:
            await self._tell(self._recorder, "take", rows)
        async with self._writing:
            await asyncio.to_thread(self._journal.write, [ladder.state_dict()])
        counts = {**ladder.counts(), "samples": len(rows), "samples_too_long": too_long, **self._untold()}
        await self._tell(self._curator, "ladder_over", lease.exercise, counts)

    def _rows(self, ladder: Ladder, first: int, difficulty: int) -> tuple[list[str], int]:
        """What a ladder teaches, as rows of the `written` journal; and how many samples no row has room for."""
        config = self._config
        found = samples(ladder, config.yoda.demonstrate, config.generate.prompts)
        fitting, too_long = tokenised(found, self._tokenizer, config.train.row_tokens)
        plain = map(sample_row, fitting)
        items = [as_exercise(row, sample_id(row, first), difficulty) for row in plain]
        return [json.dumps(written_row(item)) for item in items], len(too_long)

    def _untold(self) -> dict[str, int]:
        """What asking has cost since the last ladder that was over."""
        named = self._climber.counts.items()
        counts = Counter({name: n for name, n in named if name in ASKED_AGAIN or name.startswith("rejected.")})
        new, self._told = counts - self._told, counts
        return dict(new)

    async def _tell(self, actor: Any, method: str, *arguments: Any) -> Any:
        """Call an idempotent method until it is answered."""
        return await asyncio.to_thread(patient.call, actor, method, *arguments, within_s=self._config.watch.stall_s)
