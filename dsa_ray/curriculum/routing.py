"""Which teacher writes what: by role, and among those of a role by weight."""

from __future__ import annotations

import hashlib
from itertools import accumulate

from dsa_ray.config import Config
from dsa_ray.records import ExerciseRequest, Kind

_ROLES = {Kind.ANSWER: "answers", Kind.CRITIQUE: "critiques"}
_QUESTIONS = "questions"
_SPAN = 2**32


class Router:
    """Draws a teacher for every attempt of every request, the same one whenever it is asked.

    Another attempt may go to another teacher, so that one that cannot write something does not keep it.
    """

    def __init__(self, config: Config) -> None:
        self._teachers = config.pool
        self._seed = config.run.seed
        self._ends = list(accumulate(teacher.replicas for teacher in self._teachers))
        checks = config.generate.checks
        self._needed = [_QUESTIONS, *["answers"] * bool(checks.votes), *["critiques"] * bool(checks.judge)]
        self.closed: set[int] = set()
        """Teachers that are asked nothing more."""

    def close(self, teacher: int) -> bool:
        """Ask nothing more of a teacher. Whether others are left who write all that is needed."""
        self.closed.add(teacher)
        return all(self._able(role) for role in self._needed)

    def teacher(self, request: ExerciseRequest) -> int:
        """Number of the teacher for this attempt; of a closed one where nobody else can write it."""
        if len(self._teachers) == 1:
            return 0
        role = _ROLES.get(request.kind, _QUESTIONS)
        able = self._able(role) or [number for number, teacher in enumerate(self._teachers) if role in teacher.writes]
        bounds = list(accumulate(self._teachers[number].weight for number in able))
        text = f"{self._seed}/{request.id}/{request.attempt}/teacher".encode()
        drawn = int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") / _SPAN * bounds[-1]
        return next(number for number, bound in zip(able, bounds, strict=True) if drawn < bound)

    def teacher_of(self, replica: str) -> int:
        """Number of the teacher that a replica serves: replicas are numbered through, `teacher-0` first."""
        number = replica.rpartition("-")[2]
        if len(self._teachers) == 1 or not number.isdecimal():
            return 0
        return next((teacher for teacher, end in enumerate(self._ends) if int(number) < end), 0)

    def replicas(self, teacher: int) -> int:
        """How many replicas a teacher should have."""
        return self._teachers[teacher].replicas

    def _able(self, role: str) -> list[int]:
        """Those who write this and may be asked."""
        teachers = enumerate(self._teachers)
        return [number for number, teacher in teachers if role in teacher.writes and number not in self.closed]

    def replaceable(self, replica: str) -> int | None:
        """The same, or None where another process would answer alike: behind an address, or what is no replica."""
        teacher = self.teacher_of(replica)
        known = replica.rpartition("-")[2].isdecimal() and self._teachers[teacher].kind != "openai"
        return teacher if known else None


def writer_of(generator_version: str) -> tuple[str, int] | None:
    """(replica, incarnation) of what a replica wrote, from e.g. `0/teacher-1.17`; None where no replica did."""
    name, _, incarnation = generator_version.rpartition("/")[2].rpartition(".")
    return (name, int(incarnation)) if name and incarnation.isdecimal() else None
