"""Snapshots of the student for whoever serves it while training goes on.

rank     copies the weights at the end of a step      training is blocked for this alone
thread   writes them, tells the curator               rank 0; one at a time, a further one is left out meanwhile
replica  loads the newest with requests in flight     `Replica.load_weights`; every answer names its version
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

import ray.train
import torch
from ray.actor import ActorHandle
from transformers import PreTrainedTokenizerBase

from dsa_ray.actors import patient
from dsa_ray.actors.checkpointing import REPLY_S, SavingEngine
from dsa_ray.storage.checkpoints import step_name
from dsa_ray.storage.filesystem import Folder
from dsa_ray.training.staging import saying_when_full

PUBLISHED = "published"
"""Folder of the snapshots in a run."""
KEEP = 2
"""Snapshots that are kept: the newest, and the one before, which may still be read."""


class Publisher:
    """Publishes full models (a LoRA adapter is merged); `publish` is collective.

    Args:
        run: folder or URI of the run, which the replica's node reads too.
    """

    def __init__(
        self, engine: SavingEngine, tokenizer: PreTrainedTokenizerBase, run: str, curator: ActorHandle
    ) -> None:
        self._engine, self._tokenizer, self._curator = engine, tokenizer, curator
        self._folder = Folder(f"{run}/{PUBLISHED}")
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="publish")
        self._writing: Future[None] | None = None
        self._rank = ray.train.get_context().get_world_rank()

    def publish(self, step: int) -> None:
        """Snapshot the weights at the end of `step`.

        Raises:
            CheckpointError: there was no room for an earlier snapshot.
            OSError: an earlier snapshot could not be written.
        """
        if self._left_out():
            return
        began = time.perf_counter()
        weights = self._engine.copy_student(merged=True)
        if weights is not None:
            blocked_s = time.perf_counter() - began
            self._writing = self._threads.submit(self._write, step, weights, blocked_s)

    def wait(self) -> None:
        """Return when nothing is being written. Raises what made it fail."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _left_out(self) -> bool:
        """Whether rank 0 is still writing the last one: all ranks have to agree before a collective copy."""
        busy = torch.zeros(1, dtype=torch.int64)
        if self._writing is not None and not self._writing.done():
            busy[0] = 1
        else:
            self.wait()
        if torch.cuda.is_available():
            busy = busy.cuda()
        torch.distributed.broadcast(busy, src=0)
        return bool(busy[0])

    def _write(self, step: int, weights: dict[str, torch.Tensor], blocked_s: float) -> None:
        version = step_name(step)
        path = f"{self._folder.url}/{version}"
        self._folder.delete_tree(version)  # of an attempt that ended
        with saying_when_full(path), self._folder.draft(version) as draft:
            self._engine.write_student(weights, draft, self._tokenizer, merged=True)
        told = {"version": version, "step": step, "path": path, "blocked_s": blocked_s}
        patient.once_more(self._curator, "was_published", told, within_s=REPLY_S)
        for old in [name for name in self._folder.names() if name < version][: -KEEP + 1]:
            self._folder.delete_tree(old)
