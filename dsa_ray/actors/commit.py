"""What makes a checkpoint of the ring the latest: in Ray Train's controller, which needs neither torch nor a model."""

from __future__ import annotations

from typing import Any

from ray.actor import ActorHandle
from ray.train import Checkpoint, UserCallback

from dsa_ray.config import Config
from dsa_ray.storage.checkpoints import CheckpointError, CheckpointStore
from dsa_ray.storage.filesystem import Folder

CHECKPOINTS = "checkpoints"
"""Name of Ray Train's experiment, and of the folder."""
RAY_SNAPSHOT = "checkpoint_manager_snapshot.json"


class Commit(UserCallback):
    """In Ray Train's controller: when every rank has uploaded its part, the checkpoint counts."""

    def __init__(self, config: Config, run: str, curator: ActorHandle) -> None:
        self._train, self._curator = config.train, curator
        self._url = f"{run}/{CHECKPOINTS}"

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            return
        store, facts = CheckpointStore(self._url), metrics[0]
        try:
            store.commit(facts["name"], facts["ranks"])
            store.prune(self._train.keep_checkpoints, keep_best=self._train.keep_best)
        except (CheckpointError, OSError) as error:
            self._curator.fail.options(max_task_retries=-1).remote(str(error))  # the driver ends the run with this line
            return
        blocked_s = max(rank["blocked_s"] for rank in metrics)
        staging = next((rank["staging"] for rank in metrics if rank["staging"]), "")
        self._curator.saved.remote({"step": facts["step"], "blocked_s": blocked_s, "staging": staging})


def forget_ray_snapshot(checkpoints: str) -> None:
    """Ray Train's own list of checkpoints is not written atomically and does not know what was pruned: ours counts."""
    folder = Folder(checkpoints)
    if folder.exists(RAY_SNAPSHOT):
        folder.delete(RAY_SNAPSHOT)
