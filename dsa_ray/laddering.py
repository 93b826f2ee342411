"""Ladders for a run: the skills that stayed hard, climbed by its student with its teacher's hints (YODA).

    the run's journal    verdicts say which skills stay hard, and which of their exercises
    replicas             teachers as configured; the student on its newest weights, taken up while ladders are climbed
    ladder stream        every ladder on its own                         no request is lost to a replica's death
    RUN/ladders/         ladders.jsonl: every turn with who wrote it;    samples.jsonl: what is learnt, in order

Works beside a run that is still training, with `train.publish_every`, and on one that has ended.
"""

from __future__ import annotations

import functools
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.actor import ActorHandle

from dsa_ray.actors.ladder_actor import CLIMBED, make_climber
from dsa_ray.actors.publishing import PUBLISHED
from dsa_ray.actors.replica import student_teacher
from dsa_ray.actors.replica_actor import ReplicaActor
from dsa_ray.config import Config, ConfigError
from dsa_ray.dynamics.stay_hard import Judged, stay_hard
from dsa_ray.embedded import shipped
from dsa_ray.engines.base import EngineError
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.ladder_intake import SAMPLES
from dsa_ray.ladders.ladder import Ladder
from dsa_ray.ladders.samples import ordered, sample_row, samples, tokenised
from dsa_ray.placement import Share, teacher_share
from dsa_ray.records import Exercise, Scope, SkillBrief, Verdict, VerdictClass, Written
from dsa_ray.ring import connect, place
from dsa_ray.sections import LaddersConfig
from dsa_ray.skills.graph import briefs
from dsa_ray.skills.start import graph_of
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.quarantine import standing_verdicts
from dsa_ray.storage.run_folder import CONFIG, RunFolder
from dsa_ray.storage.texts import STREAM, written_from_row
from dsa_ray.streams.climber import Basic
from dsa_ray.streams.ladders import LadderPlan, build_ladder_stream, climbed

LADDERS, COUNTS = "ladders/ladders.jsonl", "ladders/counts.json"
LOOK_S = 1.0
"""Between looks for newly published weights."""


WRITTEN_LAST = "tokenizer_config.json"
"""Of a published student: where it stands, all the rest does."""
KEEP_EVERY = 32
"""Ladders after which those that are over are written."""


def climb(run: RunFolder, config: Config) -> dict[str, int]:
    """Climb ladders for a run's skills that stay hard; what was climbed before is kept. Returns what was counted.

    Args:
        run: opened; its journal may still be growing.
        config: the run's own, perhaps with other `yoda` and `cluster` values.

    Raises:
        ConfigError: no skill stays hard, or the run's folder is no path that replicas can read.
    """
    if "://" in run.path:
        raise ConfigError(f"{run.path}: the student's replica reads its weights from a path; copy the run to a folder")
    basics = starts(_Record.read(run), config.yoda)
    if not basics:
        raise ConfigError(
            f"{run.path}: no skill has {config.yoda.hard_verdicts} hard-to-learn verdicts in a row, so there is "
            "nothing to climb; lower yoda.hard_verdicts, or train longer"
        )
    kept = _kept(run)
    there = {ladder.id for ladder in kept}
    wanted = [basic for basic in basics if basic.id not in there]
    seen: Counter[str] = Counter()
    if wanted:
        pool = _Pool(config, run)
        try:
            pool.start()
            make = functools.partial(make_climber, config, run.path, pool.teachers, pool.student)
            for ladder, counted in climbed(build_ladder_stream(wanted, make, pool.plan)):
                kept.append(ladder)
                seen.update(counted)
                pool.refresh()
                if len(kept) % KEEP_EVERY == 0:
                    _keep(run, kept)
            seen["weights_taken_up"] = pool.taken_up
        finally:
            pool.stop()
        _keep(run, kept)
    return _conclude(run, config, kept, seen)


def starts(record: _Record, yoda: LaddersConfig) -> list[Basic]:
    """Where ladders start: the hardest exercises of every skill that stays hard."""
    chosen = stay_hard(record.judged.values(), yoda.hard_verdicts)
    ids = [exercise for exercises in chosen.values() for exercise in exercises[: yoda.per_skill]]
    return [_basic(record.written[exercise], record.skills) for exercise in ids if exercise in record.written]


@dataclass(slots=True)
class _Record:
    """What a run's journal says of its exercises."""

    judged: dict[tuple[int, int], Judged] = field(default_factory=dict)
    """By (exercise, cycle), in the order in which they fell."""
    written: dict[int, Written] = field(default_factory=dict)
    skills: dict[str, SkillBrief] = field(default_factory=dict)

    @classmethod
    def read(cls, run: RunFolder) -> _Record:
        record = cls()
        for _, rows in iter_segments(run.journal, STREAM):
            for row in rows:
                if isinstance((written := written_from_row(row)).item, Exercise):
                    record.written[row["id"]] = written
        for row in standing_verdicts(run.journal):
            if row["exercise"] in record.written:
                record._take(row)
        if (graph := graph_of(run)) is not None:
            record.skills = briefs(graph)
        return record

    def _take(self, row: Mapping[str, Any]) -> None:
        names = ("exercise", "cycle", "step", "mean_loss", "loss_spread", "reason")
        verdict = Verdict(**{name: row[name] for name in names}, verdict=VerdictClass(row["verdict"]))
        skills = self.written[verdict.exercise].request.skills
        self.judged[verdict.exercise, verdict.cycle] = Judged(verdict=verdict, skills=skills)


def _basic(written: Written, known: Mapping[str, SkillBrief]) -> Basic:
    return Basic.of(written, [known.get(skill) or SkillBrief.outside(skill) for skill in written.request.skills])


class _Pool:
    """The replicas: teachers as configured, and one student."""

    def __init__(self, config: Config, run: RunFolder) -> None:
        self._config, self._run = config, run
        self._prefix = f"{config.run.name}/ladders"
        self._replicas: list[ActorHandle] = []
        self._starting: list[ray.ObjectRef] = []
        self._taking_up: ray.ObjectRef | None = None
        self._offered = ""
        self._looked = 0.0
        self.teachers: list[str] = []
        self.student = f"{self._prefix}/student"
        self.taken_up = 0
        """How often the student's weights were replaced while ladders were climbed."""

    @property
    def plan(self) -> LadderPlan:
        return LadderPlan(at_once=self._config.yoda.at_once)

    def start(self) -> None:
        """Join or start the cluster and start all engines; returns when they are ready."""
        config = self._config
        connect(config, self._run.path)
        placement = place(config, Scope.TRAINING)
        for number, teacher in enumerate(config.pool):
            share = placement[teacher_share(number)]
            served = config.model_copy(update={"teacher": teacher})
            for _ in range(teacher.replicas):
                self.teachers.append(f"{self._prefix}/teacher-{len(self.teachers)}")
                self._start(self.teachers[-1], served, shipped.served(teacher), share)
        asks = config.model_copy(update={"teacher": student_teacher(config)})
        base = shipped.resolve(config.student.model)
        self._start(self.student, asks, base, placement["student"])
        ray.get([replica.start.remote() for replica in self._replicas], timeout=config.watch.engine_start_s)
        if self._run.exists(f"student/{CONFIG}"):
            self._load("trained", self._run.student)
            ray.get(self._taking_up, timeout=config.watch.engine_start_s)
        self.refresh()

    def refresh(self) -> None:
        """Let the student take up the newest published weights, with ladders under way; never waits for it."""
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        if self._taking_up is not None:
            if not ray.wait([self._taking_up], timeout=0)[0]:
                return
            self._note()
        if self._run.exists(f"student/{CONFIG}"):
            return  # it is trained, and loaded
        published = Folder(f"{self._run.path}/{PUBLISHED}")
        whole = [version for version in published.names() if published.exists(f"{version}/{WRITTEN_LAST}")]
        if whole and whole[-1] != self._offered:
            self._load(whole[-1], f"{published.url}/{whole[-1]}")

    def stop(self) -> None:
        """End everything that was started here; a local cluster ends too."""
        if ray.is_initialized():
            for replica in self._replicas:
                ray.kill(replica, no_restart=True)
            ray.shutdown()

    def _start(self, name: str, config: Config, model: str, share: Share) -> None:
        options = {"name": name, "num_cpus": share.cpus, "num_gpus": share.gpus, "max_restarts": -1}
        short = name.rpartition("/")[2]
        self._replicas.append(
            ReplicaActor.options(**options).remote(short, config, model, None, None, (share.gpus, share.threads))
        )

    def _load(self, version: str, path: str) -> None:
        self._offered = version
        self._taking_up = ray.get_actor(self.student).load_weights.remote(path, version)

    def _note(self) -> None:
        try:
            ray.get(self._taking_up)
            self.taken_up += 1
        except ray.exceptions.RayActorError:
            self._offered = ""  # the replica ended; its next incarnation takes up the newest
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, EngineError):
                raise
            self._offered = ""  # newer snapshots replaced this one before it was read
        self._taking_up = None


def _kept(run: RunFolder) -> list[Ladder]:
    """Ladders that were climbed before: by this, or while the run trained (`yoda.live`)."""
    lines = run.read_text(LADDERS).splitlines() if run.exists(LADDERS) else []
    rows = [row for _, rows in iter_segments(run.journal, CLIMBED) for row in rows]
    return list({row["id"]: Ladder.from_state_dict(row) for row in (*rows, *map(json.loads, lines))}.values())


def _keep(run: RunFolder, ladders: Sequence[Ladder]) -> None:
    run.write_text(LADDERS, "".join(json.dumps(ladder.state_dict()) + "\n" for ladder in ladders))


def _conclude(run: RunFolder, config: Config, ladders: Sequence[Ladder], seen: Counter[str]) -> dict[str, int]:
    """Write what is learnt, in order, and the counts."""
    tokenizer = StudentTokenizer(shipped.resolve(config.student.model), config.generate.prompts)
    taught = [
        sample
        for ladder in sorted(ladders, key=lambda ladder: ladder.id)
        for sample in samples(ladder, config.yoda.demonstrate, config.generate.prompts)
    ]
    fitting, too_long = tokenised(taught, tokenizer, config.train.row_tokens)
    in_order = ordered(fitting, config.yoda.order == "curriculum", config.run.seed)
    run.write_text(SAMPLES, "".join(json.dumps(sample_row(one)) + "\n" for one in in_order))
    counts: Counter[str] = Counter()
    for ladder in ladders:
        counts.update(ladder.counts())
    told = {name: count for name, count in seen.items() if name not in counts}
    counts.update(told | {"samples": len(in_order), "samples_too_long": len(too_long)})
    run.write_text(COUNTS, json.dumps(counts, indent=1))
    return dict(counts)
