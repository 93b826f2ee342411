"""The ring on Ray: every actor of a run, placed by one plan, and what the driver asks of them.

       requests                                              written / rejected
  +--> replicas (pull, N requests in flight each) ==generation stream: checks, tokens==> recorder --+
  |                                                                                                  v
curator  (one async actor: graph, exercise table, loss histories, verdicts, ledger; numbers, never text)
  |                                                                                                  ^
  +--> leases of packed rows ==training stream, one reader per rank==> DeepSpeed ranks ---- losses --+

   who        consumes               produces               waits for            its deadline
   replica    assignments            completions            the curator, engine  watch.hang_s and others
   recorder   generation stream      journal segments       completions          ends with generation
   reader     row plans              tensors                something to train   watch.stall_s
   rank       tensors                losses                 rows, other ranks    Ray Train, watch.stall_s
   driver     status                 view, metrics, end     all of them          watch.stall_s (watchdog)
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.autoscaler.sdk import request_resources

from dsa_ray.actors import patient
from dsa_ray.actors.answering import Answering
from dsa_ray.actors.curator import CuratorActor
from dsa_ray.actors.ladder_actor import LadderActor
from dsa_ray.actors.own_ray import start_ray
from dsa_ray.actors.pool import ReplicaPool
from dsa_ray.actors.recorder_actor import RecorderActor
from dsa_ray.actors.replica import student_teacher
from dsa_ray.actors.replica_actor import ReplicaActor
from dsa_ray.actors.starting import NeverStarted, Starts
from dsa_ray.actors.trainer import TrainerActor, TrainerShares, trainer_environment
from dsa_ray.actors.whereabouts import RUN_VARIABLE
from dsa_ray.config import Config, ConfigError
from dsa_ray.embedded import shipped
from dsa_ray.engines.base import EngineError
from dsa_ray.generation.checks import make_examiner
from dsa_ray.machine import ClusterShape
from dsa_ray.placement import Placement, bundles, node_of, plan, settle, teacher_share
from dsa_ray.preflight import joins_cluster
from dsa_ray.records import Scope
from dsa_ray.storage.pages import keep_little
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.streams.generation import StreamPlan
from dsa_ray.watchdog import Stalled

REPLY_S = 60.0
"""An actor answers a question about its state within this, or it is gone."""
RESTARTS = 8
"""So often Ray starts recorder and trainer anew. Curator and replicas: as often as they end."""


class RingBroken(Exception):
    """A part of the ring ended that should not have: one line that names it."""


class Ring:
    """The actors of one run. `start`, then poll `status`; `stop` ends everything that was started here.

    Args:
        config: the run's configuration.
        run: its folder.
        student_model: folder or name of the student's model.
        held_out: exam questions, which no written exercise may contain.
        scope: how far it goes; short of training there are no ranks and no student.
    """

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        student_model: str,
        held_out: Sequence[str],
        scope: Scope = Scope.TRAINING,
    ) -> None:
        self._scope = scope
        self._config = config
        self._run = run
        self._student_model = student_model
        self._held_out = tuple(held_out)
        self._fit: ray.ObjectRef | None = None
        self._trained = False
        self._recording: ray.ObjectRef | None = None
        self._ladders: ActorHandle | None = None
        self._climbing: ray.ObjectRef | None = None
        self._starts = Starts(config)
        self._pool: ReplicaPool | None = None
        self._trainer: ActorHandle | None = None
        self._taking_up: ray.ObjectRef | None = None
        self._offered = ""
        self._answering = Answering(config.watch.silent_s)
        self._asked: dict[str, tuple[ray.ObjectRef, float]] = {}
        self._incarnation: int | None = None
        self._estimated = False
        self._drains = 0
        self.notes: list[str] = []
        """What went wrong and was mended, a line each."""
        self.taken_up = ""
        """Version of the published student that its replica serves."""

    def start(self) -> Placement:
        """Join or start the cluster, check the plan against it, start curator, replicas, streams."""
        config = self._config
        keep_little()  # this process watches, and computes nothing
        connect(config, self._run.path)
        self._placement = placement = place(config, self._scope)
        plain = config.model_dump(mode="json")
        self._curator = CuratorActor.options(
            num_cpus=placement["curator"].cpus,
            name=self._name("curator"),
            resources=node_of(config, "core"),
            max_restarts=-1,
        ).remote(plain, self._run.path, self._scope)
        self._ask_curator("start", within_s=config.watch.stall_s)
        self._pool = ReplicaPool(config, self._start_replica)
        self._pool.open()
        self._recording = self._start_recorder()
        return placement

    def _start_replica(self, index: int, number: int) -> ActorHandle:
        """Replica `index` of the run, which serves teacher `number` of the pool; its engine begins to start."""
        config, share = self._config, self._placement[teacher_share(number)]
        teacher = config.pool[number]
        if config.teachers:
            config = config.model_copy(update={"teacher": teacher})
        replica = ReplicaActor.options(
            name=self._name(f"teacher-{index}"),
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_restarts=-1,
            resources=node_of(config, "teacher"),
        ).remote(
            f"teacher-{index}",
            config,
            shipped.served(teacher),
            self._name("curator"),
            self._run.journal,
            (share.gpus, share.threads),
        )
        # An elastic pool goes on with those that there is room for.
        needed = config.generate.min_replicas is None
        self._starts.begin(f"teacher-{index}", replica.start.remote(), needed=needed)
        return replica

    def writing_over(self) -> bool:
        """Whether everything that was ordered is written and durable. Raises `RingBroken` as `status` does."""
        self._check_parts()
        return self._recording is None

    def status(self) -> dict[str, Any]:
        """The curator's status. Raises `RingBroken` when a part has ended that should not have."""
        self._check_parts()
        status = self._ask_curator("status")
        if status["incarnation"] != self._incarnation:
            if self._incarnation is not None:
                self.notes.append("the curator ended and was started anew; training went on from its last checkpoint")
            self._incarnation = status["incarnation"]
        return status

    def _ask_curator(self, method: str, *arguments: Any, within_s: float = REPLY_S) -> Any:
        """The curator's answer, also when Ray is starting it anew."""
        try:
            return _ask(self._curator, "the curator", within_s, method, *arguments)
        except ray.exceptions.ActorDiedError as error:
            raise RingBroken(f"the curator died: {_reason(error)}") from error

    def tend(self) -> dict[str, Any]:
        """The curator's status, after letting replicas come and go by the backlog (`generate.min_replicas`).

        Those that answer garbage are ended and replaced.

        Raises:
            RingBroken: a part has ended that should not have, or the curator has failed.
        """
        status = self.status()
        if status["failure"]:
            raise RingBroken(status["failure"])
        if overdue := self._starts.notes():
            status["warnings"] = [*status.get("warnings", ()), *overdue]
        self._pool.replace(status["garbage"])
        self._pool.scale(status["backlog"])
        return status

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics since the last time."""
        self._drains += 1
        return self._ask_curator("drain_metrics", self._drains)

    def facts(self) -> dict[str, Any]:
        return self._ask_curator("facts")

    @property
    def starting(self) -> bool:
        """An engine is not ready yet, and not overdue (`actors.starting`)."""
        return self._starts.going_on

    def replica_stats(self) -> list[dict[str, Any]]:
        """Figures of the teacher replicas that answer at once; one that starts or restarts is left out."""
        handles = {handle._actor_id.hex(): handle for handle in self._pool.replicas} if self._pool else {}
        if not handles:
            return []
        # A question stays open until it is answered: a busy machine is slow, and only one that hangs is silent.
        for name, handle in handles.items():
            if name not in self._asked:
                self._asked[name] = handle.stats.remote(), time.monotonic()
        self._asked = {name: asked for name, asked in self._asked.items() if name in handles}
        ready, _ = ray.wait([call for call, _ in self._asked.values()], num_returns=len(handles), timeout=1.0)
        told = {name: _value(call) for name, (call, _) in self._asked.items() if call in ready}
        self._asked = {name: asked for name, asked in self._asked.items() if name not in told}
        stats = {name: figures for name, figures in told.items() if figures is not None}
        for name in told.keys() - stats.keys():
            self._answering.forget(name)
        for name in self._answering.look(stats, self._open_s()):
            ray.kill(handles[name], no_restart=False)
            self.notes.append("a teacher replica that no longer answered (watch.silent_s) was ended and replaced")
        for figures in stats.values():
            self._note_estimates(figures)
        return list(stats.values())

    def _note_estimates(self, figures: Mapping[str, Any]) -> None:
        """Once a run: a budget that goes by estimates is worth knowing of."""
        if figures["estimates"] and not self._estimated:
            self._estimated = True
            self.notes.append(
                f"the endpoint of {figures['name']} reports no usage: its tokens, and what they cost, are estimates"
            )

    def _open_s(self) -> dict[str, float]:
        """For how many seconds each question to a replica has been open."""
        now = time.monotonic()
        return {name: now - since for name, (_, since) in self._asked.items()}

    def start_student(self) -> None:
        """Start the replica that sits the exam, on the base student's weights."""
        share = self._placement["student"]
        exam = self._config.model_copy(update={"teacher": student_teacher(self._config)})
        self._student = ReplicaActor.options(
            name=self._name("student"),
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_restarts=-1,
            resources=node_of(exam, "student"),
        ).remote("student", exam, self._student_model, None, None, (share.gpus, share.threads))
        self._starts.begin("student", self._student.start.remote())

    def start_ladders(self) -> None:
        """Climb ladders beside training (`yoda.live`); after `start_student`."""
        config = self._config
        again = {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}
        self._ladders = LadderActor.options(
            name=self._name("ladders"),
            num_cpus=self._placement["ladders"].cpus,
            resources=node_of(config, "core"),
            **again,
        ).remote(
            config,
            self._run.path,
            {part: self._name(part) for part in ("curator", "recorder", "student")},
            self._teachers(),
        )
        self._climbing = self._ladders.run.remote()

    def _teachers(self) -> list[str]:
        return [self._name(f"teacher-{index}") for index in range(self._pool.most)]

    def ask_student(self, messages: Sequence[Any]) -> ray.ObjectRef:
        """Put questions to the student's replica, greedily; a reference to the list of answers."""
        return self._student.ask.remote(messages, self._config.evaluate.max_tokens, 0.0)

    def load_student(self, version: str) -> None:
        """Let the student's replica take up the trained weights from the run folder."""
        who, limit_s = "the student's replica, loading weights,", self._config.watch.engine_start_s
        _ask(self._student, who, limit_s, "load_weights", self._run.student, version)

    def take_up(self, snapshot: Mapping[str, Any]) -> None:
        """Let the student's replica load a published snapshot while it serves; its pause goes into the metrics.

        Does nothing while an earlier snapshot is being loaded, or when this one is loaded already.
        """
        if self._taking_up is not None:
            if not ray.wait([self._taking_up], timeout=0)[0]:
                return
            self._note_taken_up(self._taking_up)
            self._taking_up = None
        if snapshot["version"] != self.taken_up:
            self._offered = snapshot["version"]
            self._taking_up = self._student.load_weights.remote(snapshot["path"], self._offered)

    def _note_taken_up(self, call: ray.ObjectRef) -> None:
        try:
            seconds = ray.get(call)
        except ray.exceptions.RayActorError:
            return  # the replica ended; its next incarnation takes up the newest
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EngineError):
                return  # newer snapshots replaced this one before it was read
            raise
        self._curator.was_taken_up.remote(seconds)
        self.taken_up = self._offered

    def begin_training(self) -> None:
        """Start the trainer, beside everything else."""
        placement = self._placement
        shares = TrainerShares(
            rank_cpus=placement["rank"].cpus,
            rank_gpus=placement["rank"].gpus,
            reader_cpus=placement["training_source"].cpus,
            rank_threads=placement["rank"].threads,
            rank_group=node_of(self._config, "rank"),
            reader_group=node_of(self._config, "training_source"),
        )
        core = node_of(self._config, "core")
        again = {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}
        environment = trainer_environment(elastic=self._config.train.min_ranks is not None)
        self._trainer = TrainerActor.options(
            name=self._name("trainer"), resources=core, runtime_env=environment, **again
        ).remote()
        self._begin_fit = functools.partial(
            self._trainer.fit.remote,
            self._config.model_dump(mode="json"),
            self._run.path,
            self._student_model,
            self._curator,
            shares,
        )
        self._fit = self._begin_fit()

    def training_over(self) -> bool:
        """Whether the trainer has exported the student. Raises `RingBroken` with its reason when it failed."""
        if self._trained:
            return True
        if self._fit is None or not ray.wait([self._fit], timeout=0)[0]:
            return False
        try:
            ray.get(self._fit)
        except ray.exceptions.RayError as error:
            if not _lost_another(error):
                raise RingBroken(f"the trainer failed: {_reason(error)}") from error
            # The controller of its ranks has ended, or trains on unheard: it ends with the trainer at the latest.
            ray.kill(self._trainer, no_restart=False)
            self._fit = self._begin_fit()
            self.notes.append("the controller of the ranks was lost; training went on from the last checkpoint")
            return False
        self._ask_curator("training_over")
        self._trained = True
        return True

    def end_generation(self) -> None:
        """The teacher is not needed any more: wait for the recorder, then free its replicas."""
        if self._ladders is not None:
            ray.kill(self._ladders, no_restart=True)  # what is half climbed could not be trained on any more
            self._ladders = self._climbing = None
        self._ask_curator("wind_down")
        if self._recording is not None:
            _answer(self._recording, "the recorder, asked to end,", self._config.watch.stall_s)
            self._recording = None
        if self._pool is not None:
            self._pool.close()

    def stop(self) -> None:
        """End everything that was started here; a local cluster ends too."""
        if ray.is_initialized():
            for actor in (self._trainer, self._ladders):
                if actor is not None:
                    ray.kill(actor, no_restart=True)
            if self._pool is not None:
                self._pool.close()
            ray.shutdown()

    def _name(self, part: str) -> str:
        return f"{self._config.run.name}/{part}"

    def _start_recorder(self) -> ray.ObjectRef:
        config, placement = self._config, self._placement
        stream = StreamPlan(
            reader_cpus=placement["generation_source"].cpus,
            examiner_cpus=placement["examiner"].cpus,
            patience_s=config.watch.engine_start_s,
            elastic=config.generate.min_replicas is not None,
            node=node_of(config, "generation_source"),
        )
        examiner = functools.partial(
            make_examiner, config, self._student_model, self._held_out, journal=self._run.journal
        )
        recorder = RecorderActor.options(
            name=self._name("recorder"),
            num_cpus=placement["recorder"].cpus,
            max_concurrency=4,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
            resources=node_of(config, "core"),
        ).remote(self._run.journal, self._name("curator"), self._teachers(), examiner, stream, config.watch.stall_s)
        return recorder.run.remote()

    def _check_parts(self) -> None:
        """An engine that cannot start, a recorder that ended: named at once, not waited for."""
        try:
            ended = self._starts.take(_done)
        except NeverStarted as error:
            raise RingBroken(str(error)) from None
        for call in ended:
            _raise_if_failed(call, "an engine did not start")
        if self._recording is not None and ray.wait([self._recording], timeout=0)[0]:
            _raise_if_failed(self._recording, "the generation stream ended")
            self._recording = None
        if self._climbing is not None and ray.wait([self._climbing], timeout=0)[0]:
            _raise_if_failed(self._climbing, "the ladders ended")
            self._climbing = None


def connect(config: Config, run: str) -> None:
    """Join the configured cluster, or start one on this machine, on loopback."""
    if ray.is_initialized():
        return
    quiet = {"configure_logging": False, "runtime_env": {"env_vars": _environment(run)}}
    if joins_cluster(config):
        ray.init(address=config.cluster.address or "auto", log_to_driver=False, **quiet)
        return
    start_ray(
        config.cluster.cpus,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        object_store_memory=OBJECT_STORE_BYTES,
        **quiet,
    )


def place(config: Config, scope: Scope) -> Placement:
    """On a cluster that is joined, wait for its autoscaler to bring what is missing; ours is as it is."""
    if not joins_cluster(config):
        return plan(config, _cluster_shape(), scope)
    placement = settle(
        lambda: plan(config, _cluster_shape(), scope, elastic=True),
        lambda: request_resources(bundles=bundles(config, scope)),
        config.cluster.placement_timeout_s,
    )
    request_resources(bundles=[])  # from here on the processes themselves are the demand, and idle nodes may go
    return placement


OBJECT_STORE_BYTES = 512 * 2**20
"""Of a cluster that a run starts for itself: rows are small and few."""


def _environment(run: str) -> dict[str, str]:
    """What every process of a run is told: where the run lies, no telemetry, no thread pools beyond the plan."""
    return {
        RUN_VARIABLE: run,
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        # glibc gives each thread an arena, which keeps what was freed in it; Ray's processes have dozens of threads.
        "MALLOC_ARENA_MAX": "2",
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
        # Nothing here asks it, and it lies on any node, which an autoscaler then never takes back.
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        # Between looks at the ranks: until one that has ended is seen, and the end of training.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    }


def _cluster_shape() -> ClusterShape:
    resources = ray.cluster_resources()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return ClusterShape(
        cpus=resources.get("CPU", 0.0),
        gpus=int(resources.get("GPU", 0)),
        memory_gib=resources.get("memory", 0.0) / 2**30,
        nodes=len(nodes),
        node_gpus=tuple(int(node["Resources"].get("GPU", 0)) for node in nodes),
        resources=frozenset(resources),
    )


def _answer(call: ray.ObjectRef, who: str, within_s: float) -> Any:
    """The answer of an actor. Raises `Stalled`, naming it, when none comes in time."""
    try:
        return ray.get(call, timeout=within_s)
    except ray.exceptions.GetTimeoutError:
        raise _silent(who, within_s) from None


def _ask(actor: ActorHandle, who: str, within_s: float, method: str, *arguments: Any) -> Any:
    """Like `_answer`, of an actor that Ray may be starting anew."""
    try:
        return patient.call(actor, method, *arguments, within_s=within_s, call_s=within_s)
    except patient.ActorAway:
        raise _silent(who, within_s) from None


def _silent(who: str, seconds: float) -> Stalled:
    return Stalled(f"{who} has not answered for {seconds:.0f} s: its process is stopped, or hangs")


def _done(calls: Sequence[ray.ObjectRef]) -> Sequence[ray.ObjectRef]:
    return ray.wait(list(calls), num_returns=len(calls), timeout=0)[0] if calls else ()


def _value(call: ray.ObjectRef) -> Any:
    try:
        return ray.get(call)
    except ray.exceptions.RayActorError:
        return None


def _raise_if_failed(call: ray.ObjectRef, what: str) -> None:
    try:
        ray.get(call)
    except ray.exceptions.RayActorError as error:
        if "creation task" in str(error):  # it cannot even be made, however often it is tried
            raise RingBroken(f"{what}: {_reason(error)}") from error
        return  # it is being restarted; its next incarnation starts by itself
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, ConfigError):
            raise cause from error
        raise RingBroken(f"{what}: {_reason(error)}") from error


def _lost_another(error: ray.exceptions.RayError) -> bool:
    """Whether the actor that was called failed because it lost one that it had called itself."""
    return isinstance(getattr(error, "cause", None), ray.exceptions.RayActorError)


def _reason(error: BaseException) -> str:
    """The last line of a remote traceback, which names the fault."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:400] if lines else type(error).__name__
