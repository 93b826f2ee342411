"""The trainer: a Ray Train `TorchTrainer` whose ranks run a DeepSpeed engine over the training stream.

trainer      asks for ranks and readers, and starts all again after a fault
controller   Ray Train's: one process more; it moves `latest` when all ranks have uploaded (commit.py)
ranks        rank.py
checkpoint   everything that belongs to the end of step S, in one folder, uploaded beside training (checkpointing.py)
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
import ray.train
from ray._private import ray_constants
from ray._private.state import state
from ray.actor import ActorHandle
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.exceptions import RayActorError
from ray.train import ControllerError, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2._internal.constants import WORKER_GROUP_START_TIMEOUT_S_ENV_VAR
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.util.placement_group import PlacementGroup, remove_placement_group

from dsa_ray.actors.commit import CHECKPOINTS, Commit, forget_ray_snapshot
from dsa_ray.actors.whereabouts import note_process
from dsa_ray.config import Config, parse
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.streams.training import configure_context, training_stream

logger = logging.getLogger(__name__)

AGAIN = WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError, RayActorError
"""What a controller may end with that the next one need not: it did not get its ranks started, or an actor was lost
where it does not expect it."""
AGAIN_S = 1.0
"""Until removed ranks have ended."""
ROOM_S = 10
"""For how long an elastic group of ranks waits for its room. It is asked for only once it is there; but Ray Train hears
up to 20 s late that a node is gone, asks for its room too, and would wait the default 60 s for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerShares:
    """What the placement plan gives the trainer."""

    rank_cpus: float
    rank_gpus: float
    reader_cpus: float
    rank_threads: int
    rank_group: Mapping[str, float] = field(default_factory=dict)
    """Ray resource of the nodes on which ranks may lie."""
    reader_group: Mapping[str, float] = field(default_factory=dict)
    """Of those on which their readers may lie."""


def trainer_environment(elastic: bool) -> dict[str, Any]:
    """Runtime environment of the trainer and of all that it starts: they ask this cluster about the state of actors.

    Otherwise Ray's state API asks the cluster whose address a `ray start` last left on the machine. Ray Train asks it
    whether its controller is alive: a cluster that is gone holds the end of training up by its timeouts, 38 s, and one
    that lives knows of no such controller, upon which nobody would free the room of its ranks any more.

    Args:
        elastic: whether the number of ranks follows the nodes (`train.min_ranks`).
    """
    variables = {ray_constants.RAY_ADDRESS_ENVIRONMENT_VARIABLE: ray.get_runtime_context().gcs_address}
    if elastic:
        given = os.environ.get(WORKER_GROUP_START_TIMEOUT_S_ENV_VAR)
        variables[WORKER_GROUP_START_TIMEOUT_S_ENV_VAR] = given or str(ROOM_S)
    return {"env_vars": variables}


@ray.remote(num_cpus=0)
class TrainerActor:
    """Runs `fit` away from the driver: a driver that is interrupted ends it by ending this actor.

    Called again after a restart, `fit` goes on from the latest checkpoint. To be made with `trainer_environment`.
    """

    def fit(self, config: dict[str, Any], run: str, student_path: str, curator: ActorHandle, shares: Any) -> None:
        note_process("trainer")
        fit(parse(config), RunFolder.open(run), student_path, curator, shares)


def fit(
    config: Config, run: RunFolder, student_path: str, curator: ActorHandle, shares: TrainerShares
) -> ray.train.Result:
    """Train until the curator's steps are over; returns when the student is exported. Blocks.

    A group of ranks that does not start is asked for again, without end: the watchdog has the deadline. Each time by
    another controller, for Ray Train 2.60 keeps the ranks of a group that fails late in its start, and would wait
    beside them for the room that they take.

    Args:
        run: the run's folder.
        student_path: folder or name of the base student.

    Raises:
        ray.train.TrainingFailedError: after `train.max_failures` restarts.
        ray.exceptions.RayActorError: the controller ended, or a call to it was lost and it may live; in the latter
            case nobody but the end of this process ends it.
    """
    while True:
        try:
            return _fit(config, run, student_path, curator, shares)
        except ControllerError as error:
            if not isinstance(error.controller_failure, AGAIN):
                raise
            logger.warning("the ranks are asked for again: %s", str(error.controller_failure).partition("\n")[0])
        free_rooms()


def _fit(
    config: Config, run: RunFolder, student_path: str, curator: ActorHandle, shares: TrainerShares
) -> ray.train.Result:
    from ray.train.torch import TorchConfig, TorchTrainer  # torch, which the driver, who starts this, has no use for

    ranks = config.train.ranks
    configure_context()
    forget_ray_snapshot(run.checkpoints)
    readers = {
        f"rows_{rank}": training_stream(curator, rank, run.journal, config, shares.reader_cpus, shares.reader_group)
        for rank in range(ranks)
    }
    trainer = TorchTrainer(
        _train_rank,
        train_loop_config={
            "config": config.model_dump(mode="json"),
            "curator": curator,
            "student": student_path,
            "run": run.path,
            "threads": shares.rank_threads,
        },
        torch_config=TorchConfig(backend="nccl" if shares.rank_gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=(config.train.min_ranks, ranks) if config.train.min_ranks else ranks,
            elastic_resize_monitor_interval_s=config.train.resize_check_s,
            use_gpu=shares.rank_gpus > 0,
            resources_per_worker={"CPU": _exact(shares.rank_cpus)}
            | ({"GPU": shares.rank_gpus} if shares.rank_gpus else {})
            | dict(shares.rank_group),
        ),
        run_config=RunConfig(
            name=CHECKPOINTS,
            storage_path=run.path,
            failure_config=FailureConfig(max_failures=config.train.max_failures, controller_failure_limit=0),
            callbacks=[Commit(config, run.path, curator)],
        ),
        datasets=readers,
        dataset_config=DataConfig(datasets_to_split=[]),
    )
    return trainer.fit()


def free_rooms() -> None:
    """Remove the placement groups that this job's actors have made: those of former controllers, with what runs there.

    Ray keeps them until the job ends. Not to be called while a controller is at work.
    """
    job = ray.get_runtime_context().get_job_id()
    for told in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(told)
        if group.creator_job_id.hex() == job and group.creator_actor_id and group.state != group.REMOVED:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    time.sleep(AGAIN_S)


def _exact(cpus: float) -> float:
    """Ray Train divides floats to see how many ranks there is room for, and loses one to rounding: not with these."""
    return math.floor(cpus * 16) / 16 or cpus


def _train_rank(setup: dict[str, Any]) -> None:
    """In a process of its own: what a rank needs is slow to import, and neither the trainer nor Ray Train needs it."""
    from dsa_ray.actors.rank import train_rank

    train_rank(setup)
