"""The generation stream: from the replicas' outboxes through the checks to rows that can be written.

    read task, one per replica   polls `completed`           a block = one batch of completions, as one row
    Examiner actor(s)            examines the batch          the same row: which passed, and their JSON
    recorder                     pulls blocks                journal, then the curator

A row carries a whole batch (lists in its columns), because Ray Data cuts or gathers blocks by bytes: with a target
of 1 byte every row is one block that flows at once, and the price of a block is paid per batch, not per completion.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset, TaskPoolStrategy
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.annotations import RayDeprecationWarning

from dsa_ray.storage.pages import keep_little
from dsa_ray.streams.batches import Batch, Examined, Examines, StaleReader, completion_json, outcomes_of

IN_FLIGHT = 32
"""Blocks given to an examiner ahead. While any read task is waiting Ray Data's scheduling loop takes 0.1 s a turn, so
with its default of 4 hardly more than that many blocks would pass in a second."""
PAUSE_S = 0.5
"""Between attempts to reach an actor that is being restarted."""
FIRST_S = 300.0
"""How long the first opening may last, of which nobody knows how many batches it will bring."""
SHORTEST_S = 60.0
"""No opening is shorter: the next one's examiner takes seconds to start."""
BATCHES = 1024
"""So many batches an opening should bring at most; the recorder grows by some 5 KB with each."""


class ReplicaLost(Exception):
    """A replica answered nothing, restarts included, for `StreamPlan.patience_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """Shares and bounds of one opening of the stream."""

    reader_cpus: float = 0.05
    """CPUs reserved for the read task of each replica."""
    examiner_cpus: float = 0.2
    """CPUs reserved for each examiner."""
    examiners: int = 1
    """Examiner actors. Duplicates are found within one of them only."""
    max_rows: int = 256
    """Completions in a batch."""
    wait_s: float = 1.0
    """How long a poll waits for the first completion."""
    patience_s: float = 300.0
    """A replica may be silent for so long: its engine's start (`watch.engine_start_s`)."""
    reopen_s: float = 600.0
    """All readers end together after so long, or sooner (`opening_s`), and the stream is opened anew, because an
    execution grows by some KB per block. Together, because a reader that goes on alone may wait for work that lies in
    another's outbox: so it is a time, which all know, and not a count."""
    elastic: bool = False
    """Replicas come and go: they are looked up by name."""
    node: Mapping[str, float] = field(default_factory=dict)
    """Ray resource of the nodes on which readers and examiners may lie."""
    opened: int = 0
    """Number of this opening, from 1: the readers of an older one are refused."""


def opening_s(plan: StreamPlan, batches: int, seconds: float) -> float:
    """How long the next opening lasts, by what the last one brought.

    Args:
        plan: with the longest.
        batches: of the last opening.
        seconds: that it lasted; 0 where there was none.
    """
    if not seconds:
        return min(plan.reopen_s, FIRST_S)
    return min(plan.reopen_s, max(SHORTEST_S, BATCHES * seconds / max(1, batches)))


def build_generation_stream(
    replicas: Sequence[Any], curator: Any, examiner: Callable[[], Examines], plan: StreamPlan
) -> Dataset:
    """The stream, not started. It ends when `curator.generation_over` is true and the outboxes are empty.

    Args:
        replicas: handles of `ReplicaActor`s, or names of such as may come and go.
        curator: handle; its `generation_over()` is asked when an outbox is empty.
        examiner: makes the examiner inside its actor.
        plan: shares and bounds.

    Returns:
        rows of one batch each: `replica` (index), `token`, `ok` (list of bool) and `json` (list of str): per
        completion, `written_row` or `rejection_row`. Read them with `examined`.
    """
    stream = _read_outboxes(_Outboxes(replicas, curator, plan), plan, len(replicas)).map_batches(
        _Examination,
        fn_constructor_args=(examiner,),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=plan.examiner_cpus,
        resources=dict(plan.node),
        compute=ActorPoolStrategy(size=plan.examiners, max_tasks_in_flight_per_actor=IN_FLIGHT),
    )
    stream.set_name("generation")
    context = stream.context
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    context._max_num_blocks_in_streaming_gen_buffer = 32
    return stream


def _read_outboxes(source: Datasource, plan: StreamPlan, readers: int) -> Dataset:
    with warnings.catch_warnings():
        # `ray_remote_args` is deprecated, and nothing else takes `max_retries`.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return ray.data.read_datasource(
            source,
            override_num_blocks=readers,
            compute=TaskPoolStrategy(size=readers),
            num_cpus=plan.reader_cpus,
            # A retried task would skip as many blocks as its predecessor gave: new ones. The next opening reads on.
            ray_remote_args={"max_retries": 0, "resources": dict(plan.node)},
        )


def examined(stream: Dataset) -> Iterator[Examined]:
    """Run the stream: the batches as they come out."""
    for block in stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in block.to_pylist():
            outcomes = list(zip(row["ok"], row["json"], strict=True))
            yield Examined(replica=row["replica"], token=row["token"], outcomes=outcomes)


class _Examination:
    """The examiner's actor: its online set of duplicates lives as long as the stream."""

    def __init__(self, make: Callable[[], Examines]) -> None:
        # Texts come one at a time: threads of the tokenizer would only wait, and take cores from an engine beside this.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        keep_little()
        self._examiner = make()

    def __call__(self, block: pa.Table) -> pa.Table:
        results = [outcomes_of(self._examiner, completions) for completions in block["completions"].to_pylist()]
        passed, texts = [column for column, _ in results], [column for _, column in results]
        return pa.table({"replica": block["replica"], "token": block["token"], "ok": passed, "json": texts})


class _Outboxes(Datasource):
    """One unbounded read task per replica."""

    def __init__(self, replicas: Sequence[Any], curator: Any, plan: StreamPlan) -> None:
        super().__init__()
        self._replicas, self._curator, self._plan = list(replicas), curator, plan

    def get_name(self) -> str:
        return "Outboxes"

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        curator, plan = self._curator, self._plan
        metadata = BlockMetadata(num_rows=1, size_bytes=64 * 1024, input_files=None, exec_stats=None)
        return [
            ReadTask(lambda replica=replica, index=index: _read(replica, index, curator, plan), metadata)
            for index, replica in enumerate(self._replicas)
        ]


def _read(replica: Any, index: int, curator: Any, plan: StreamPlan) -> Iterator[pa.Table]:
    """The batches of one replica, until the opening is over."""
    keep_little()
    poll = _Poll(replica, index, plan)
    seen = ""
    try:
        while (batch := poll(seen)) is not None:
            seen = batch.token
            if batch.completions:
                texts = [completion_json(completion) for completion in batch.completions]
                yield pa.table({"replica": [index], "token": [batch.token], "completions": [texts]})
            if poll.late or (not batch.completions and _over(curator)):
                return
    except StaleReader:
        return


class _Poll:
    """Calls `completed` through restarts of the replica, until the opening is over."""

    def __init__(self, replica: Any, index: int, plan: StreamPlan) -> None:
        self._replica, self._index, self._plan = replica, index, plan
        self._answered = time.monotonic()
        self._end = self._answered + plan.reopen_s

    @property
    def late(self) -> bool:
        return time.monotonic() > self._end

    def __call__(self, seen: str) -> Batch | None:
        """The next batch; none if the opening ended while the replica was away.

        For a replica that is named and not there, an empty one after a pause.
        """
        plan, patience = self._plan, self._plan.patience_s
        while True:
            left = self._answered + patience - time.monotonic()
            replica = handle_of(self._replica)
            if replica is None:
                self._answered = time.monotonic()
                time.sleep(PAUSE_S)
                return Batch(token=seen, completions=())
            try:
                call = replica.completed.remote(plan.max_rows, plan.wait_s, seen, plan.opened)
                batch = ray.get(call, timeout=max(1.0, left) + plan.wait_s)
            except (RayActorError, GetTimeoutError) as error:
                if left <= 0 or getattr(error, "actor_init_failed", False):
                    raise ReplicaLost(
                        f"replica {self._index} cannot be reached (for at most {patience:g} s): {error}"
                    ) from error
                if self.late:
                    return None
                time.sleep(PAUSE_S)
                continue
            self._answered = time.monotonic()
            return batch


def handle_of(replica: Any) -> Any | None:
    """A replica's handle; none where one that may come and go, given by name, is not there now."""
    if not isinstance(replica, str):
        return replica
    try:
        return ray.get_actor(replica)
    except ValueError:
        return None


def _over(curator: Any) -> bool:
    """Whether generation is over; a curator that cannot be reached just now has not said so."""
    try:
        return bool(ray.get(curator.generation_over.remote(), timeout=10.0))
    except (RayActorError, GetTimeoutError):
        time.sleep(PAUSE_S)
        return False
