"""The training stream: leases of packed rows, turned into finished tensors by one reader per rank.

    reader of rank r     consumes   row plans that the curator leases to rank r (at most `train.slots` are open)
                         produces   one block of one row, padded tensors
                         waits for  something that may be trained; gives up after `stall_s`
                         ends when  the curator says that the run's steps are over, or that another reader follows

No stage follows the reader: every stage behind a bounded source costs feedback lag or idling.

An execution of Ray Data grows with every block, so a rank opens the stream anew from time to time. The next reader
starts beside the present one, which is read until the curator, asked by the next, gives it no more: no row is missed,
none comes twice, and the rank does not wait.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from itertools import chain, count, islice
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.actor import ActorHandle
from ray.data.block import Block, BlockAccessor, BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from dsa_ray.config import Config
from dsa_ray.storage.pages import give_back, keep_little
from dsa_ray.storage.texts import TextStore
from dsa_ray.training.collate import pack, to_batch

LEASE_ROWS = 4
"""Rows asked for at a time: one call to the curator per so many rows."""
REOPEN_ROWS = 8192
"""After so many rows the stream of a rank is opened anew: at some KB a block that is tens of MB."""
POLL_S = 0.02
REPLY_S = 60.0
"""The curator answers within this, or it is gone."""
AGAIN = 3
"""So many times Ray makes a call again that was lost."""


class RowSource(Datasource):
    """An unbounded source of packed rows for one rank.

    Args:
        curator: the curator actor.
        rank: whose rows.
        journal: folder of the written journal.
        row_tokens: length of a row.
        patience_s: with nothing to train on for this long, before the first row and after it, the reader fails and
            says so.
    """

    def __init__(
        self, curator: ActorHandle, rank: int, journal: str, row_tokens: int, patience_s: tuple[float, float]
    ) -> None:
        super().__init__()
        self._read = partial(_read_rows, curator, rank, journal, row_tokens, patience_s)
        self._rank = rank

    def get_name(self) -> str:
        return f"rows of rank {self._rank}"

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        metadata = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None)
        return [ReadTask(self._read, metadata)]


def training_stream(
    curator: ActorHandle, rank: int, journal: str, config: Config, cpus: float, node: Mapping[str, float] | None = None
) -> ray.data.Dataset:
    """The stream of one rank.

    Args:
        cpus: share of its reader in the placement plan.
        node: Ray resource of the nodes on which the reader may lie.
    """
    stall_s = config.watch.stall_s
    if config.dynamics.schedule == "epochs":
        stall_s = math.inf  # between epochs a rank waits for the teacher, whom the driver's watchdog watches
    patience_s = config.watch.engine_start_s + stall_s, stall_s  # the first text waits for the teacher's engine
    source = RowSource(curator, rank, journal, config.train.row_tokens, patience_s)
    stream = ray.data.read_datasource(
        source,
        override_num_blocks=1,
        ray_remote_args={"num_cpus": cpus, "max_retries": 0, "resources": dict(node or {})},
    )
    stream.set_name(f"training-rank-{rank}")
    return stream


def configure_context() -> None:
    """Let a stream flow: Ray Data gathers rows into large blocks unless told that a row is a block."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1
    context.target_min_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.verbose_progress = False


def rows_of(dataset: Any, reopen_rows: int = REOPEN_ROWS) -> Iterator[dict[str, Any]]:
    """The rows of a shard until the run's steps are over, one at a time, as dicts of arrays.

    Args:
        dataset: the shard of one rank, an iterator over its `training_stream`.
        reopen_rows: the stream is opened anew after so many.
    """
    following: Future[Iterator[dict[str, Any]]] | None = _open(dataset)
    while following is not None:
        rows, following = following.result(), None
        for number, row in enumerate(rows, 1):
            if number == reopen_rows:
                following = _open(dataset)
            yield row
        give_back()


def _open(dataset: Any) -> Future[Iterator[dict[str, Any]]]:
    """Execute the stream once more, in a thread: its rows, once there is one."""
    opened: Future[Iterator[dict[str, Any]]] = Future()

    def begin() -> None:
        try:
            # With batches prefetched Ray Data holds back as many until more come, which may need them to be trained.
            rows = iter(dataset.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0))
            first = list(islice(rows, 1))
            opened.set_result(chain(first, rows))
        except BaseException as error:
            opened.set_exception(error)

    threading.Thread(target=begin, name="open-training-stream", daemon=True).start()
    return opened


def _read_rows(
    curator: ActorHandle, rank: int, journal: str, row_tokens: int, patience_s: tuple[float, float]
) -> Iterable[Block]:
    keep_little()
    attempt, reader = ray.get(curator.open_rows.remote(rank), timeout=REPLY_S)
    texts = TextStore(journal)
    idle_since, limit_s = time.monotonic(), patience_s[0]
    lease = curator.lease_rows.options(max_task_retries=AGAIN)
    for call in count():
        plans = ray.get(lease.remote(rank, attempt, LEASE_ROWS, reader, call), timeout=REPLY_S)
        if plans is None:
            return
        for plan in plans:
            yield _block(to_batch(pack(plan, texts.get, row_tokens)))
        if plans:
            idle_since, limit_s = time.monotonic(), patience_s[1]
        elif time.monotonic() - idle_since > limit_s:
            raise TimeoutError(f"rank {rank}: nothing to train on for {limit_s:.0f} s; is the teacher writing?")
        else:
            time.sleep(POLL_S)


def _block(batch: dict[str, Any]) -> pa.Table:
    return BlockAccessor.batch_to_arrow_block(batch)
