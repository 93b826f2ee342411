"""Runs the compared ways to train in processes of their own, block after block in turn, and times the blocks."""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing as mp
from _train_arms import SHAPES, Arm, LoopArm, SilentArm, StreamArm
from _train_text import Feed, RowProcess, Text, rows
from _train_trl import pairs_with_trl, synchronize

from dsa_ray.sections import TrainConfig

STREAM, SILENT, BARE, PLAIN, TRL = "stream", "silent", "bare", "plain", "trl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is trained, where, and how often the clock is read."""

    shape: str
    config: TrainConfig
    texts: tuple[Text, ...]
    tokenizer: str
    pairs: int
    steps: int
    """Steps of one block."""
    arms: tuple[str, ...] = (STREAM, BARE, PLAIN)
    device: str = "cpu"
    all_tokens: bool = False

    @property
    def world(self) -> int:
        return self.config.ranks


@dataclass(frozen=True, slots=True)
class Measured:
    """Tokens per second of all ranks, one entry per pair and arm, and what the process took."""

    speeds: dict[str, list[float]]
    peak_gib: float
    step_share: float
    """Share of the stream arm's step that the losses per example took, timed by themselves."""
    parameters: int

    def median(self, arm: str) -> float:
        return statistics.median(self.speeds[arm])

    def ratio(self, arm: str) -> float:
        """Median over the pairs of stream / arm."""
        return statistics.median(
            ours / other for ours, other in zip(self.speeds[STREAM], self.speeds[arm], strict=True)
        )


def compare(comparison: Comparison) -> Measured:
    """Spawn the ranks, run, and collect. One rank is pinned to one core; several share what there is.

    Raises:
        RuntimeError: a rank died.
    """
    queue: Any = mp.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_rank, args=(comparison, folder, queue), nprocs=comparison.world)
    return queue.get()


def _rank(rank: int, comparison: Comparison, folder: str, queue: Any) -> None:
    cores = sorted(os.sched_getaffinity(0))
    data_cores: Sequence[int] = ()
    if comparison.world == 1 and comparison.device == "cpu":
        os.sched_setaffinity(0, cores[:1])
        data_cores = cores[1:] or cores
    if comparison.device == "cpu":
        torch.set_num_threads(1)
    _join(rank, comparison, folder)
    feed = _feed(comparison, rank)
    process = RowProcess(feed, data_cores)
    try:
        measured = _measure(comparison, feed, process)
    finally:
        process.close()
    if rank == 0:
        queue.put(measured)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _join(rank: int, comparison: Comparison, folder: str) -> None:
    """Ranks meet in a process group. One alone needs none: our engine or TRL makes its own, the plain loops do not."""
    os.environ["LOCAL_RANK"] = str(rank)
    if comparison.world > 1 or set(comparison.arms) <= {BARE, PLAIN}:
        backend = "gloo" if comparison.device == "cpu" else "nccl"
        torch.distributed.init_process_group(
            backend, init_method=f"file://{folder}/meet", rank=rank, world_size=comparison.world
        )


def _feed(comparison: Comparison, rank: int) -> Feed:
    config = comparison.config
    return Feed(
        texts=comparison.texts,
        tokenizer=comparison.tokenizer,
        row_tokens=config.row_tokens,
        rows_per_step=config.rows_per_step,
        rank=rank,
        ranks=config.ranks,
        all_tokens=comparison.all_tokens,
    )


def _measure(comparison: Comparison, feed: Feed, process: RowProcess) -> Measured:
    config, device = comparison.config, comparison.device
    build = partial(_build, comparison.shape, device)
    parameters = build().num_parameters()
    arms: dict[str, Arm] = {}
    if STREAM in comparison.arms:
        arms[STREAM] = StreamArm(build(), config, iter(process), comparison.world, device)
    if SILENT in comparison.arms:
        arms[SILENT] = SilentArm(build(), config, iter(process), comparison.world, device)
    # As many rows as will be trained: oneDNN makes its kernels per shape, so rows that come again are cheaper.
    held = (comparison.pairs + 1) * comparison.steps if {BARE, PLAIN} & set(comparison.arms) else 0
    memory = list(rows(feed, held))
    for name in (BARE, PLAIN):
        if name in comparison.arms:
            arms[name] = LoopArm(build(), config, memory, device, as_transformers_runs_it=name == PLAIN)
    with_trl = TRL in comparison.arms
    speeds = _against_trl(comparison, arms.get(STREAM)) if with_trl else _in_turn(arms, comparison)
    share = _statistics_share(arms[STREAM]) if STREAM in arms else 0.0
    return Measured(speeds, _peak_gib(device), share, parameters)


def _build(shape: str, device: str) -> Any:
    with torch.device(device):
        return SHAPES[shape]()


def _in_turn(arms: dict[str, Arm], comparison: Comparison) -> dict[str, list[float]]:
    """Blocks of every arm in turn; every second round the other way about. The first round only warms up."""
    speeds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(comparison.pairs + 1):
        order = list(arms) if turn % 2 else list(arms)[::-1]
        for name in order:
            tokens, seconds = timed(arms[name].run, comparison.steps)
            if turn:
                speeds[name].append(tokens * comparison.world / seconds)
    return speeds


def _against_trl(comparison: Comparison, ours: Arm | None) -> dict[str, list[float]]:
    if comparison.device == "cpu":
        torch.manual_seed(0)
    pairs = pairs_with_trl(
        _build(comparison.shape, comparison.device),
        comparison.config,
        comparison.texts,
        comparison.tokenizer,
        (lambda steps: timed(ours.run, steps)) if ours else (lambda steps: (1, 1.0)),
        pairs=comparison.pairs,
        steps=comparison.steps,
        all_tokens=comparison.all_tokens,
    )
    speeds = {TRL: [theirs for _, theirs in pairs]}
    return speeds | ({STREAM: [mine for mine, _ in pairs]} if ours else {})


def timed(run: Callable[[int], int], steps: int) -> tuple[int, float]:
    """Tokens and seconds of so many steps; ranks start and end together."""
    _meet()
    started = time.perf_counter()
    tokens = run(steps)
    _meet()
    return tokens, time.perf_counter() - started


def _meet() -> None:
    synchronize()
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        torch.distributed.barrier()


def _statistics_share(arm: Any) -> float:
    """Time of a step's losses per example over that of the step; less noisy than two arms, but without the reports."""
    from dsa_ray.training.loss import example_losses, row_tensors

    process_rows = [next(arm.rows) for _ in range(arm.config.rows_per_step)]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tensors = [row_tensors(row, device) for row in process_rows]
    nll = [torch.zeros(len(row.targets), device=device) for row in tensors]
    started = time.perf_counter()
    for _ in range(20):
        for values, row in zip(nll, tensors, strict=True):
            example_losses(values, row)
    seconds = (time.perf_counter() - started) / 20
    return seconds / statistics.median(report.step_s for report in arm.reports)


def _peak_gib(device: str) -> float:
    """Peak memory: of the GPU, else of this process."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
