"""A run from configuration to report: the one place that knows the order of things.

    ring.start            curator, replicas, recorder, streams          graph and texts begin to be written
      exam before         student replica, base weights                 beside the writing
      begin_training      textbooks in graph order, then exercises      beside the writing; verdicts order children
                          (its processes start at once; its readers wait for the first textbooks)
    end_generation        the teacher's replicas are freed
      exam after          student replica, trained weights
    outcome               summary.json, tables, report.html

Only the driver's loop waits for more than one thing at a time, and it looks at all of them twice a second.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import ray
from rich.console import Console

from dsa_ray import outcome
from dsa_ray.actors.metrics import MetricsPublisher
from dsa_ray.config import Config, ConfigError
from dsa_ray.embedded import shipped
from dsa_ray.embedded.exam import exam_of, on_graph
from dsa_ray.evaluation.exam import Question
from dsa_ray.exits import Exit
from dsa_ray.generation.checks import make_examiner
from dsa_ray.generation.fingerprint import check_fingerprint
from dsa_ray.generation.prompts import student_messages
from dsa_ray.live import LiveView, Status
from dsa_ray.placement import slow_rows
from dsa_ray.report.loggers import Loggers
from dsa_ray.report.metrics import samples
from dsa_ray.ring import Ring, RingBroken
from dsa_ray.screen import quiet
from dsa_ray.seeding import take_seeds
from dsa_ray.skills.start import graph_of
from dsa_ray.stacks import processes
from dsa_ray.storage.run_folder import RunFolder, storage_of
from dsa_ray.training.student_check import StudentError, StudentUnreadable, check_apart
from dsa_ray.watchdog import Stalled, Watchdog

T = TypeVar("T")
TICK_S = 0.5
STATUS_EVERY_S = 2.0
SITTINGS_LOST = 8
"""So many times the replica of the student may end during an exam; one more ends the run."""
TRAINED = "trained"
"""Version name of the trained weights in the student's replica."""


@dataclass(slots=True)
class Exam:
    """The held-out questions and what the student answered, before and after."""

    questions: list[Question]
    prompts: str | None = None
    """Folder of the user's own templates."""
    answers: dict[str, list[str]] = field(default_factory=dict)
    pending: ray.ObjectRef | None = None
    lost: int = 0
    """Sittings whose replica ended meanwhile."""

    def messages(self) -> list[list[dict[str, str]]]:
        return [student_messages(question.question, templates=self.prompts) for question in self.questions]

    def collect(self, when: str) -> bool:
        """Take the answers if they are there. Returns whether this sitting is over.

        Nothing is pending any more when the replica ended meanwhile: Ray starts another, which is to be asked again.
        """
        if self.pending is not None and ray.wait([self.pending], timeout=0)[0]:
            call, self.pending = self.pending, None
            try:
                self.answers[when] = ray.get(call)
            except ray.exceptions.ActorUnavailableError:
                self.lost += 1
                if self.lost > SITTINGS_LOST:
                    raise
        return when in self.answers


def run(config: Config, resume: bool = False, live: bool | None = None, allow_changes: bool = False) -> int:
    """Carry out a run; returns its exit code. Everything that it leaves behind is in its run folder.

    Args:
        config: validated and checked (`preflight.check`).
        resume: go on with the run of this name.
        live: False for plain lines; otherwise the terminal decides.
        allow_changes: resume although the configuration changed where it may not.

    Raises:
        ConfigError: the run folder or the cluster does not allow it; nothing was started that still runs.
    """
    _check_student(config)
    with (
        RunFolder.create(storage_of(config), config, resume=resume, allow_changes=allow_changes) as folder,
        quiet(folder.driver_log) as terminal,
        LiveView(plain=True if live is False else None, console=Console(file=terminal, highlight=False)) as view,
    ):
        try:
            check_fingerprint(config, folder, allow=allow_changes)
        except ConfigError:
            folder.discard()
            raise
        return _Run(config, folder, view).carry_out()


class _Run:
    """The driver's loop and what it has to remember."""

    def __init__(self, config: Config, folder: RunFolder, view: LiveView) -> None:
        self._config = config
        self._folder = folder
        self._view = view
        self._exam = Exam(exam_of(config), config.generate.prompts)
        student = shipped.resolve(config.student.model)
        held_out = [question.question for question in self._exam.questions]
        self._ring = Ring(config, folder, student, held_out)
        self._examiner = functools.partial(make_examiner, config, student, held_out, journal=folder.journal)
        self._loggers = Loggers(config, folder.path)
        self._metrics: MetricsPublisher | None = None
        self._watchdog = Watchdog(config.watch.stall_s, config.watch.engine_start_s)
        self._clock = outcome.PhaseClock()
        self._status: dict[str, Any] = {}
        self._facts: dict[str, Any] = {}
        self._replicas: list[dict[str, Any]] = []
        self._status_written = 0.0
        self._lost: list[str] = []
        """What could not be written at the end, a line each."""

    def carry_out(self) -> int:
        """The whole run, and whatever can be told of it however it ends."""
        self._view.opening(_opening(self._config, self._folder.path, len(self._exam.questions)))
        state, code, reason = "finished", Exit.OK, ""
        try:
            self._steps()
        except ConfigError:
            self._ring.stop()
            self._folder.discard()
            raise
        except KeyboardInterrupt:
            state, code, reason = "interrupted", Exit.INTERRUPTED, "interrupted; go on with --resume"
        except Stalled as error:
            state, code, reason = "failed", Exit.STALLED, str(error)
            self._dump(reason)
        except (RingBroken, ray.exceptions.RayError, TimeoutError) as error:
            state, code, reason = "failed", Exit.FAILED, str(error).splitlines()[0]
            self._dump(str(error))
        except OSError as error:
            state, code, reason = "failed", Exit.FAILED, f"the run folder cannot be written: {error}"
        finally:
            with contextlib.suppress(KeyboardInterrupt):
                try:
                    self._take_facts()
                finally:
                    self._ring.stop()
        self._clock.enter("report")
        self._keep("what the loggers held", self._loggers.close)
        concluded = self._keep("summary and report", lambda: self._conclude(state)) or ()
        if self._status:
            self._keep("status.json", lambda: self._write_status(over=True))
        if self._lost and code == Exit.OK:
            code = Exit.FAILED
        self._view.close([*([reason] if reason else []), *self._notes(), *concluded, *self._lost])
        return code

    def _steps(self) -> None:
        ring, exam = self._ring, self._exam
        self._clock.enter("start")
        take_seeds(self._config, self._folder, self._examiner)
        ring.start()
        ring.start_student()
        if self._config.yoda.live:
            ring.start_ladders()
        ring.begin_training()
        while not (ring.training_over() and exam.collect("before")):
            self._tick()
            if self._status["skills"] and exam.pending is None and "before" not in exam.answers:
                exam.questions = _of_graph(exam.questions, self._folder)
                exam.pending = ring.ask_student(exam.messages())
            if exam.collect("before") and self._status["published"]:  # not while the base student is examined
                ring.take_up(self._status["published"])
        self._tick()
        self._clock.enter("exam")
        self._replicas = ring.replica_stats()
        ring.end_generation()
        while not exam.collect("after"):
            if exam.pending is None:
                ring.load_student(TRAINED)
                exam.pending = ring.ask_student(exam.messages())
            self._tick(phase="exam")

    def _tick(self, phase: str | None = None) -> None:
        """Look at everything once: parts, progress, metrics, view."""
        time.sleep(TICK_S)
        status = self._ring.tend()
        self._status = {**status, "phase": phase or status["phase"], "exam": len(self._exam.answers)}
        if phase is None:
            self._clock.enter(status["phase"])
        if not self._ring.starting and (warning := self._watchdog.look(self._status)):
            self._status["warnings"] = [*self._status.get("warnings", ()), warning]
        self._log()
        self._replicas = self._ring.replica_stats() or self._replicas
        self._publish()
        self._view.update(_view_of(self._status, self._replicas))
        if time.monotonic() - self._status_written > STATUS_EVERY_S:
            self._status_written = time.monotonic()
            self._write_status(over=False)

    def _publish(self) -> None:
        """The same figures for Prometheus."""
        if self._metrics is None:
            self._metrics = MetricsPublisher(self._config.run.name)
        silent = 0.0 if self._ring.starting else self._watchdog.silent_s
        waits = {"no_progress_s": silent, "stall_s": self._config.watch.stall_s}
        self._metrics.publish(samples({**self._status, **waits}, self._replicas, time.time()))

    def _write_status(self, over: bool) -> None:
        """For `dsa status`, beside a run that goes on or after it."""
        self._folder.write_text("status.json", json.dumps({**self._status, "over": over, "time": time.time()}))

    def _log(self) -> None:
        """The lines of metrics since the last time, to the run folder and to the loggers."""
        rows = self._ring.metrics()
        self._folder.append_metrics(rows)
        self._loggers.log(rows)

    def _take_facts(self) -> None:
        """What the curator knows, while it is still there."""
        if ray.is_initialized() and self._status:
            with contextlib.suppress(ray.exceptions.RayError, TimeoutError, RingBroken, Stalled):
                self._facts = self._ring.facts()
                self._keep("metrics.jsonl", self._log)

    def _keep(self, what: str, write: Callable[[], T]) -> T | None:
        """Write something at the end: on a disk that is full a run still ends with its reason."""
        try:
            return write()
        except OSError as error:
            self._lost.append(f"{what} could not be written: {error.strerror or error}")
            return None

    def _notes(self) -> list[str]:
        """What went less well than it could, for the end of the screen."""
        reasons = {saved["staging"] for saved in self._facts.get("checkpoints", ()) if saved["staging"]}
        staged = [f"checkpoints were staged on disk, which holds training up longer: {why}" for why in sorted(reasons)]
        return [*self._loggers.notes, *staged, *self._ring.notes, *self._facts.get("warnings", ())]

    def _conclude(self, state: str) -> Sequence[str]:
        return outcome.conclude(
            outcome.Ending(
                state=state,
                config=self._config,
                folder=self._folder,
                facts=self._facts,
                replicas=self._replicas,
                questions=self._exam.questions,
                answers=self._exam.answers,
                wall_s=self._clock.seconds(),
            )
        )

    def _dump(self, reason: str) -> None:
        """What was known when the run failed, for whoever has to find out why."""
        known = {"status": self._status, "replicas": self._replicas, "processes": processes()}
        dump = {"reason": reason, **known, "time": time.time()}
        text = json.dumps(dump, indent=1, default=str)
        self._keep("failure.json", lambda: self._folder.write_text("failure.json", text))


def _check_student(config: Config) -> None:
    """A student that cannot be trained is a broken configuration. A hub may be out of this process's reach only."""
    student = shipped.resolve(config.student.model)
    try:
        check_apart(student, config.train.row_tokens)
    except StudentError as error:
        if Path(student).is_dir() or not isinstance(error, StudentUnreadable):
            raise ConfigError(f"student.model: {error}") from None


def _of_graph(questions: list[Question], folder: RunFolder) -> list[Question]:
    """The questions on skills of this run's graph; an exam that knows none of them is a broken configuration."""
    graph = graph_of(folder)
    assert graph is not None, "it is drawn"
    chosen = on_graph(questions, graph)
    if not chosen:
        raise ConfigError("evaluate.exam: no question belongs to a skill of the graph; give an exam for this target")
    return chosen


def _opening(config: Config, path: str, questions: int) -> list[str]:
    return [
        f"dsa_ray teaches {config.graph.target!r} to {config.student.model}",
        f"  1  the teacher ({config.teacher.model}, {config.generate.replicas} vLLM replica"
        f"{'s' if config.generate.replicas > 1 else ''}) draws the skill graph and writes textbooks and exercises",
        f"  2  the student sits an exam, reads the textbooks, is tuned on exercises for {config.train.steps} steps "
        f"({config.train.ranks} DeepSpeed rank{'s' if config.train.ranks > 1 else ''}, ZeRO-{config.train.zero_stage})",
        "  3  how each exercise is learned decides what is dropped, down-weighted, or written harder, meanwhile",
        "  4  the student sits the exam again, and you get report.html",
        *(f"  warning: {fault}" for fault in slow_rows(config)),
        f"  run folder {path}",
        "",
    ]


def _view_of(status: Mapping[str, Any], replicas: Sequence[Mapping[str, Any]]) -> Status:
    """The live view's figures."""
    train = status.get("train", {})
    phase, done, total, unit = _progress(status)
    view: Status = {
        "phase": phase,
        "done": done,
        "total": total,
        "unit": unit,
        "written": status["written"],
        "rejected": status["rejected"],
        "children": {kind: counts["written"] for kind, counts in status["children"].items()},
        "verdicts": status["verdicts"],
        "queues": {
            "requests": status["queue_depth"],
            "in flight": status["outstanding"],
            "unvisited": status["unvisited"],
            "rows": status["open_rows"],
        },
        "restarts": max(0, status["attempt"] - 1),
    }
    if train:
        view |= {"loss": train["loss"], "train_tokens_per_s": train["tokens_per_s"]}
        view |= {"train_idle_ratio": train["idle_ratio"]}
    if replicas:
        view["generate_tokens_per_s"] = sum(stats["tokens_per_s"] for stats in replicas)
        view["generate_idle_ratio"] = sum(stats["idle_ratio"] for stats in replicas) / len(replicas)
    return view


def _progress(status: Mapping[str, Any]) -> tuple[str, int, int, str]:
    """Phase as the view names it, and how far it is."""
    step, first = status["step"], status["textbook_steps"]
    match status["phase"]:
        case "graph":
            return "graph", status["skills"], 0, "skills"
        case "writing":
            return "textbooks", status["textbooks"], status["textbooks_wanted"], "textbooks"
        case "textbooks":
            return "pre-training", step, first, "steps"
        case "exercises":
            return "exercises", step - first, status["steps"] - first, "steps"
        case other:
            return other, 0, 0, ""
