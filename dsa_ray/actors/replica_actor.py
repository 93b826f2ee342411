"""The Ray shell of a replica; name, CPUs, GPUs and restarts come with `ReplicaActor.options()`."""

from __future__ import annotations

import time

import ray
from ray.exceptions import RayActorError

from dsa_ray.actors.replica import Replica
from dsa_ray.actors.whereabouts import note_process
from dsa_ray.config import Config
from dsa_ray.engines.base import build
from dsa_ray.records import Assignment
from dsa_ray.storage.texts import TextStore


# As the curator's calls.
@ray.remote(enable_task_events=False)
class ReplicaActor(Replica):
    """`Replica` as an async actor. Restarted by Ray it is a new incarnation with an empty outbox.

    Args:
        name: of the replica.
        config: its `teacher` section is what is served; see `replica.student_teacher`.
        model_path: the model, with `embedded:...` resolved.
        curator: name of the actor with `lease_requests(replica, incarnation, n)`; none serves `ask` only. A name,
            because a handle among its arguments would keep Ray from restarting it once the handle's owner is gone.
        journal: folder or URI of the run's journal, where parents' texts lie.
        share: GPUs, and computing threads of an engine on CPU.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        model_path: str,
        curator: str | None = None,
        journal: str | None = None,
        share: tuple[float, int] = (0.0, 1),
    ) -> None:
        note_process(name)
        incarnation = time.time_ns()
        handle = ray.get_actor(curator) if curator is not None else None

        async def lease(n: int) -> list[Assignment]:
            try:
                return await handle.lease_requests.remote(name, incarnation, n)
            except RayActorError as error:
                raise ConnectionError(str(error)) from error

        super().__init__(
            name,
            config,
            build(
                config.teacher,
                model_path,
                share[0],
                concurrency=config.generate.in_flight,
                threads=share[1],
                timeout_s=config.generate.request_timeout_s,
                ray_metrics=True,
            ),
            incarnation=incarnation,
            lease=lease if handle is not None else None,
            text=TextStore(journal).get if journal is not None else None,
        )
