"""Checkpoints of the ring: what each rank does at a save. What makes the result the latest is in `commit.py`.

rank       copies model, optimizer and random state into memory   training is blocked: this is all that it waits for
upload     writes files, the student, the curator's state         a thread of the rank, beside training
controller has heard of all ranks' uploads                        moves `latest`, deletes what is old
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import ray
import ray.train
import torch
from ray.actor import ActorHandle
from ray.train import Checkpoint
from ray.train.v2.api.report_config import CheckpointUploadMode
from transformers import PreTrainedTokenizerBase

from dsa_ray.actors import patient
from dsa_ray.actors.commit import CHECKPOINTS
from dsa_ray.config import Config
from dsa_ray.curriculum.host import CURATOR_STATE
from dsa_ray.skills.start import GRAPH
from dsa_ray.storage.checkpoints import META, STUDENT, CheckpointError, CheckpointStore, step_name
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.versions import versions
from dsa_ray.training.model_card import CARD, CardFacts, license_of, model_card
from dsa_ray.training.staging import Staging, saying_when_full

logger = logging.getLogger(__name__)

REPLY_S = 60.0
"""The curator answers within this, or it is gone."""
SHARDS = "shards"


class SavingEngine(Protocol):
    """What a save needs of the engine."""

    @property
    def saved_bytes(self) -> int: ...

    def save(self, folder: str, tag: str) -> None: ...

    def load(self, folder: str, tag: str | None = None) -> None: ...

    def copy_student(self, *, merged: bool = False) -> dict[str, torch.Tensor] | None: ...

    def write_student(
        self,
        weights: dict[str, torch.Tensor],
        folder: str,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        merged: bool = False,
    ) -> None: ...


class Checkpointer:
    """Saves and restores on one rank; `save` and `restore` are collective.

    Args:
        run: path or URI of the run folder.
        curator: asked by rank 0 only.
    """

    def __init__(
        self, engine: SavingEngine, tokenizer: PreTrainedTokenizerBase, config: Config, run: str, curator: ActorHandle
    ) -> None:
        self._engine, self._tokenizer, self._config, self._run, self._curator = engine, tokenizer, config, run, curator
        self._store = CheckpointStore(f"{run}/{CHECKPOINTS}")
        self._id = RunFolder.open(run).id
        context = ray.train.get_context()
        self._rank, self._ranks = context.get_world_rank(), context.get_world_size()
        self._storage = context.get_storage()
        self._idle = threading.Event()
        self._idle.set()
        self._failure: BaseException | None = None

    def restore(self) -> bytes | None:
        """Load the latest checkpoint, if there is one; rank 0 gets the curator's state that belongs to it.

        Raises:
            CheckpointError: it is corrupt, or belongs to another student or run.
        """
        chosen: list[Any] = [None]
        if self._rank == 0:
            self._store.discard_unfinished()
            chosen = [self._store.latest()]
        torch.distributed.broadcast_object_list(chosen, src=0)
        name = chosen[0]
        if name is None:
            return None
        meta = self._store.meta(name)
        if self._id and meta.get("run") not in (None, self._id):
            raise CheckpointError(
                f"checkpoint {name} in {self._store.url} is another run's: its state tells of other exercises; "
                "take the student in it as student.model of a new run, or delete it and `latest`"
            )
        same = meta["ranks"] == self._ranks
        if same or self._rank == 0:
            self._store.verify(name, self._rank if same else None)
        staging = Staging(0)
        try:
            folder = self._store.fetch(name, staging.folder, f"{SHARDS}/")
            try:
                self._engine.load(folder, SHARDS)
            except FileNotFoundError as error:
                raise CheckpointError(f"checkpoint {name} cannot be used: {error}") from error
        finally:
            staging.discard()
        return self._store.read(name, CURATOR_STATE) if self._rank == 0 else None

    def save(self, step: int, phase: str, loss: float | None) -> None:
        """Stage everything that belongs to the end of `step`, and let a thread write it while training goes on.

        Args:
            phase: that the step belongs to.
            loss: mean over the phase's steps since the last save, nats per token; None where they had none.

        Raises:
            CheckpointError: an earlier upload failed, or there is no room to stage it.
        """
        began = time.perf_counter()
        self.wait()  # one staged checkpoint at a time
        if self._rank == 0:
            patient.once_more(self._curator, "want_checkpoint", step, within_s=REPLY_S)
        staging = Staging(self._engine.saved_bytes)
        if not staging.in_memory:
            logger.warning("checkpoint at step %d is staged on disk: %s", step, staging.reason)
        with saying_when_full(staging.folder):
            self._engine.save(staging.folder, SHARDS)
        weights = self._engine.copy_student()
        blocked_s = time.perf_counter() - began
        told = {"blocked_s": blocked_s, "staging": staging.reason}
        facts = {"step": step, "phase": phase, "loss": loss, "ranks": self._ranks, "run": self._id, **told}
        self._idle.clear()
        ray.train.report(
            {**facts, "name": step_name(step)},
            checkpoint=Checkpoint.from_directory(staging.folder),
            checkpoint_dir_name=step_name(step),
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=functools.partial(self._upload, staging, weights, facts),
            delete_local_checkpoint_after_upload=False,
        )

    def wait(self) -> None:
        """Return when nothing is being uploaded. Raises what made the last upload fail."""
        self._idle.wait()
        if self._failure is not None:
            raise self._failure

    def export(self, *, merged: bool, name: str = STUDENT) -> None:
        """Write the student into the run folder; collective."""
        weights = self._engine.copy_student(merged=merged)
        if weights is not None:
            staging = Staging(sum(tensor.nbytes for tensor in weights.values()))
            try:
                with saying_when_full(staging.folder):
                    self._engine.write_student(weights, staging.folder, self._tokenizer, merged=merged)
                with saying_when_full(self._run):
                    Folder(self._run).put_tree(staging.folder, name)
            finally:
                staging.discard()
        torch.distributed.barrier()

    def _upload(
        self,
        staging: Staging,
        weights: dict[str, torch.Tensor] | None,
        facts: Mapping[str, Any],
        checkpoint: Checkpoint,
        name: str,
    ) -> Checkpoint:
        """In Ray Train's upload thread: what rank 0 adds, then this rank's part."""
        try:
            if weights is not None:
                with saying_when_full(staging.folder):
                    self._add(staging.folder, weights, facts)
            self._store.write_part(name, self._rank, staging.folder)
        except BaseException as error:
            self._failure = error
            if isinstance(error, CheckpointError | OSError):  # no restart of the ranks mends a storage
                self._curator.fail.options(max_task_retries=-1).remote(str(error))
            raise
        finally:
            staging.discard()
            self._idle.set()
        path = self._storage.build_checkpoint_path_from_name(name)
        return Checkpoint(path=path, filesystem=self._storage.storage_filesystem)

    def _add(self, folder: str, weights: dict[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Rank 0: curator state, student, model card, facts."""
        state = patient.once_more(self._curator, "checkpoint", facts["step"], within_s=REPLY_S)
        Path(folder, CURATOR_STATE).write_bytes(state)
        student = str(Path(folder, STUDENT))
        self._engine.write_student(weights, student, self._tokenizer)
        Path(student, CARD).write_text(self._card(facts["step"]), encoding="utf-8")
        Path(folder, META).write_text(json.dumps({**facts, "time": time.time(), "versions": versions()}))

    def _card(self, step: int) -> str:
        status = patient.once_more(self._curator, "status", within_s=REPLY_S)
        run = Folder(self._run)
        edges = len(json.loads(run.read(GRAPH))["edges"]) if run.exists(GRAPH) else None
        facts = CardFacts(
            step=step,
            skills=status["skills"],
            prerequisites=edges,
            textbooks=status["textbooks"],
            exercises=status["written"],
            base_license=license_of(self._config.student.model),
        )
        return model_card(self._config, facts)
