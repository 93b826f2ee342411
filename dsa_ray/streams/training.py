"""The training stream: leases of packed rows, turned into finished tensors by one reader per rank.

    reader of rank r     consumes   row plans that the curator leases to rank r (at most `train.slots` are open)
                         produces   one block of one row, padded tensors
                         waits for  something that may be trained; gives up after `stall_s`
                         ends when  the curator says that the run's steps are over

No stage follows the reader: every stage behind a bounded source costs feedback lag or idling.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.actor import ActorHandle
from ray.data.block import Block, BlockAccessor, BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from dsa_ray.config import Config
from dsa_ray.storage.texts import TextStore
from dsa_ray.training.collate import pack, to_batch

LEASE_ROWS = 4
"""Rows asked for at a time: one call to the curator per so many rows."""
POLL_S = 0.02
REPLY_S = 60.0
"""The curator answers within this, or it is gone."""


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


def training_stream(curator: ActorHandle, rank: int, journal: str, config: Config, cpus: float) -> ray.data.Dataset:
    """The stream of one rank. `cpus` is the share that its reader gets from the placement plan."""
    stall_s = config.watch.stall_s
    if config.dynamics.schedule == "epochs":
        stall_s = math.inf  # between epochs a rank waits for the teacher, whom the driver's watchdog watches
    patience_s = config.watch.engine_start_s + stall_s, stall_s  # the first text waits for the teacher's engine
    source = RowSource(curator, rank, journal, config.train.row_tokens, patience_s)
    stream = ray.data.read_datasource(
        source, override_num_blocks=1, ray_remote_args={"num_cpus": cpus, "max_retries": 0}
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


def rows_of(dataset: Any) -> Iterator[dict[str, Any]]:
    """The rows of a shard, one at a time, as dicts of arrays."""
    return dataset.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=2)


def _read_rows(
    curator: ActorHandle, rank: int, journal: str, row_tokens: int, patience_s: tuple[float, float]
) -> Iterable[Block]:
    attempt = ray.get(curator.current_attempt.remote(), timeout=REPLY_S)
    texts = TextStore(journal)
    idle_since, limit_s = time.monotonic(), patience_s[0]
    while True:
        plans = ray.get(curator.lease_rows.remote(rank, attempt, LEASE_ROWS), timeout=REPLY_S)
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
