"""`dsa generate`: the generator pool alone. Graph in, or drawn; dataset out; nothing is trained.

    seeds            the user's own exercises, through the same checks
    ring.start       curator, replicas, recorder, stream                 as in a run
    until written    textbooks, exercises, reviews, up to the budget
    tables           textbooks.parquet, exercises.parquet, generation.json

A folder that is there already is gone on with: accepted items are kept, the rest is written.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Mapping
from typing import Any, TextIO

import ray

from dsa_ray.actors.metrics import MetricsPublisher
from dsa_ray.config import Config, ConfigError
from dsa_ray.embedded import shipped
from dsa_ray.embedded.exam import exam_of
from dsa_ray.exits import Exit
from dsa_ray.generation.checks import make_examiner
from dsa_ray.generation.fingerprint import check_fingerprint
from dsa_ray.records import Scope
from dsa_ray.report.metrics import samples
from dsa_ray.ring import Ring, RingBroken
from dsa_ray.screen import quiet
from dsa_ray.seeding import take_seeds
from dsa_ray.storage.export import write_tables
from dsa_ray.storage.run_folder import RunFolder, storage_of
from dsa_ray.watchdog import Stalled, Watchdog

TICK_S = 0.5
LINE_EVERY_S = 10.0
FIGURES = "generation.json"
"""What was written and what it cost."""


def generate(config: Config, allow_changes: bool = False) -> int:
    """Write what a configuration orders; returns the exit code.

    Args:
        allow_changes: go on although the configuration changed where it may not.

    Raises:
        ConfigError: the folder, the cluster or a file does not allow it, or what was begun was begun differently.
    """
    storage = storage_of(config)
    there = RunFolder.exists_in(storage, config.run.name)
    with RunFolder.create(storage, config, resume=there, allow_changes=allow_changes) as folder:
        try:
            check_fingerprint(config, folder, allow=allow_changes)
            with quiet(folder.driver_log) as terminal:
                return _Writing(config, folder, terminal).carry_out()
        except ConfigError:
            folder.discard()
            raise


class _Writing:
    """The driver's loop."""

    def __init__(self, config: Config, folder: RunFolder, terminal: TextIO) -> None:
        self._config, self._folder, self._terminal = config, folder, terminal
        held_out = [question.question for question in exam_of(config)]
        student = shipped.resolve(config.student.model)
        self._examiner = functools.partial(make_examiner, config, student, held_out, journal=folder.journal)
        self._ring = Ring(config, folder, student, held_out, Scope.TEXTS)
        self._watchdog = Watchdog(config.watch.stall_s)
        self._metrics: MetricsPublisher | None = None
        self._facts: dict[str, Any] = {}
        self._told = 0.0
        self._began = time.monotonic()

    def carry_out(self) -> int:
        code, reason = Exit.OK, ""
        try:
            taken = take_seeds(self._config, self._folder, self._examiner)
            if taken:
                self._say(f"own exercises: {', '.join(f'{count} {what}' for what, count in taken.items())}")
            self._ring.start()
            while not self._ring.writing_over():
                self._tick()
            self._facts = self._ring.facts()
        except KeyboardInterrupt:
            code, reason = Exit.INTERRUPTED, "interrupted; the same command goes on"
        except Stalled as error:
            code, reason = Exit.STALLED, str(error)
        except (RingBroken, ray.exceptions.RayError, TimeoutError) as error:
            code, reason = Exit.FAILED, str(error).splitlines()[0]
        finally:
            with contextlib.suppress(KeyboardInterrupt):
                self._ring.stop()
        self._conclude(reason)
        return code

    def _tick(self) -> None:
        time.sleep(TICK_S)
        status = self._ring.tend()
        if not self._ring.starting:
            self._watchdog.look(status)
        self._publish(status)
        if time.monotonic() - self._told > LINE_EVERY_S:
            self._told = time.monotonic()
            self._say(
                f"{status['skills']} skills, {status['textbooks']} textbooks, {status['written']} exercises, "
                f"{status['rejected']} rejected, {status['queue_depth'] + status['outstanding']} to come"
            )

    def _publish(self, status: Mapping[str, Any]) -> None:
        """The figures for Prometheus."""
        if self._metrics is None:
            self._metrics = MetricsPublisher(self._config.run.name)
        silent = 0.0 if self._ring.starting else self._watchdog.silent_s
        waits = {"no_progress_s": silent, "stall_s": self._config.watch.stall_s}
        self._metrics.publish(samples({**status, **waits}, self._ring.replica_stats(), time.time()))

    def _conclude(self, reason: str) -> None:
        counts = write_tables(self._folder, {})
        wall_s = round(time.monotonic() - self._began, 2)
        if self._facts:
            keys = ("items_written", "rejected", "spending")
            figures = {key: self._facts[key] for key in keys} | {"wall_s": wall_s}
            self._folder.write_text(FIGURES, json.dumps(figures, indent=1))
        if reason:
            self._say(reason)
        self._say(f"{', '.join(f'{count} rows in {name}' for name, count in counts.items())}; {self._folder.path}")

    def _say(self, line: str) -> None:
        print(line, file=self._terminal, flush=True)
