"""The ladder stream: basic questions in, ladders out, each as it comes to its end.

    blocks of basic questions   a few ladders each, so that one that is lost costs few
    Climbing actor(s)           many blocks at a time, all ladders of all of them side by side
    whoever reads               a row per ladder: its state as JSON, and what was counted

Teacher and student are replicas with names (`actors.named_replicas`). A replica that dies costs the answers under way;
a climbing actor that dies costs its ladders, which Ray Data has climbed again.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset
from ray.util.annotations import RayDeprecationWarning

from dsa_ray.ladders.ladder import Ladder
from dsa_ray.records import Exercise, Session, SkillBrief
from dsa_ray.streams.climber import Basic, Climber

IN_BLOCK = 4
"""Ladders of a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderPlan:
    """Shares of the stream."""

    at_once: int = 64
    """Ladders that are climbed at one time, over all climbing actors."""
    climbers: int = 1
    cpus: float = 0.05
    """Of each climbing actor."""


def build_ladder_stream(basics: Sequence[Basic], climber: Callable[[], Climber], plan: LadderPlan) -> Dataset:
    """The stream, not started.

    Args:
        basics: where ladders start.
        climber: makes the climber inside its actor.
        plan: shares.

    Returns:
        rows of one ladder each: read them with `climbed`.
    """
    rows = [{"basic": json.dumps(asdict(basic))} for basic in basics]
    blocks = max(1, -(-len(rows) // IN_BLOCK))
    together = max(1, plan.at_once // (IN_BLOCK * plan.climbers))
    with warnings.catch_warnings():
        # `max_concurrency` has no name of its own yet.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        stream = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            _Climbing,
            fn_constructor_args=(climber,),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=plan.cpus,
            max_concurrency=together,
            compute=ActorPoolStrategy(size=plan.climbers, max_tasks_in_flight_per_actor=together),
        )
    stream.context.target_max_block_size = 1
    stream.context.enable_progress_bars = False
    return stream


def climbed(stream: Dataset) -> Iterator[tuple[Ladder, dict[str, int]]]:
    """Run the stream: ladders as they end, each with what was counted since the last one of its actor."""
    for block in stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in block.to_pylist():
            yield Ladder.from_state_dict(json.loads(row["state"])), json.loads(row["counts"])


class _Climbing:
    """The climber's actor."""

    def __init__(self, make: Callable[[], Climber]) -> None:
        self._climber = make()

    async def __call__(self, block: pa.Table) -> AsyncIterator[pa.Table]:
        basics = [_basic(json.loads(text)) for text in block["basic"].to_pylist()]
        ladders = [asyncio.create_task(self._climber.climb(basic)) for basic in basics]
        for ended in asyncio.as_completed(ladders):
            ladder = await ended
            counts, self._climber.counts = dict(self._climber.counts), type(self._climber.counts)()
            yield pa.table({"state": [json.dumps(ladder.state_dict())], "counts": [json.dumps(counts)]})


def _basic(row: dict[str, Any]) -> Basic:
    exercise = {**row["exercise"], "skills": tuple(row["exercise"]["skills"])}
    return Basic(**{**row, "exercise": Exercise(**exercise), "skills": tuple(map(_brief, row["skills"]))})


def _brief(row: dict[str, Any]) -> SkillBrief:
    sessions = tuple(Session(**{**session, "concepts": tuple(session["concepts"])}) for session in row["sessions"])
    names = {key: tuple(row[key]) for key in ("prerequisites", "part_of")}
    return SkillBrief(**{**row, **names, "sessions": sessions})
