"""What goes wrong in one run, and when: a pure function of a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dsa_ray.sections import Group

STEPS = 120
"""Of training on exercises; textbooks come before."""
START, TRAINING, EXAM = "start", "training", "exam"
REPLICAS = ("teacher-0", "student")
WORKERS = ("examiner", "generation_reader", "training_reader")
"""Processes of Ray Data, which have no name of their own."""
ACTORS = ("curator", "recorder", "trainer", "controller", "rank-0", "rank-1")
WHOLE = ("driver", "job")
"""What cannot go on by itself: the run is resumed."""
LONG_S, SHORT_S = 20.0, 3.0
"""A stop that makes a hang of it (`watch.silent_s` is shorter), and one that everybody has to bear."""
MACHINE = "machine"
CLOCKS = (MACHINE, "driver", "curator", "recorder", "teacher-0", "rank-0")
HOUR_S = 3600.0
NODES: tuple[Group, ...] = ("teacher", "rank")
"""Whose machines may be lost, named as the group of processes that is on them. With the core's the run is lost."""
NODE_SHARE = 0.08
"""Of the schedules, in which a node is lost."""
NEW_NODE_S = 5.0
"""Until another one comes, after all processes of the lost one have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    """kill, stop, engine, disk, torn, clock or node."""
    target: str
    """A process, what the engine does (error, dead, hang), or the node's group."""
    phase: str
    """start, training or exam."""
    at: float
    """Of the start: seconds after it; of training: the share of the steps; of the exam: seconds after it began."""
    seconds: float = 0.0
    """How long a stop or a full disk lasts, an actor lives whose clock is set, and a node is missing."""
    shift: float = 0.0
    """By how many seconds a clock is set."""

    def __str__(self) -> str:
        when = f"{self.at:.0%} of training" if self.phase == TRAINING else f"{self.at:.1f} s into the {self.phase}"
        lasts = f" for {self.seconds:g} s" if self.seconds else ""
        shift = f" by {self.shift:+g} s" if self.shift else ""
        return f"{self.kind} {self.target}{shift}{lasts} at {when}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The faults of one run, in order, and what happens to calls between its processes."""

    seed: int
    faults: tuple[Fault, ...]
    delays: bool
    """Each is delayed."""
    drops: bool
    """Some are lost: on the way, or their answer is, after they were carried out."""

    def __str__(self) -> str:
        calls = [text for text, so in (("calls delayed", self.delays), ("calls lost", self.drops)) if so]
        return "; ".join([*map(str, self.faults), *calls])


def draw(seed: int) -> Schedule:
    """The schedule of a seed: one to three faults, in the order in which they come."""
    rng = random.Random(seed)
    faults = [_fault(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
    delays, drops = rng.random() < 0.2, rng.random() < 0.2
    if rng.random() < NODE_SHARE:
        at = rng.uniform(0.0, 0.9)
        faults[-1] = Fault(kind="node", target=rng.choice(NODES), phase=TRAINING, at=at, seconds=NEW_NODE_S)
    order = (START, TRAINING, EXAM)
    faults.sort(key=lambda fault: (order.index(fault.phase), fault.at))
    return Schedule(seed=seed, faults=tuple(faults), delays=delays, drops=drops)


def _fault(rng: random.Random) -> Fault:
    kind = rng.choices(("kill", "stop", "engine", "disk", "torn", "clock"), (54, 15, 13, 6, 6, 6))[0]
    if kind == "disk":
        return Fault(kind=kind, target="run folder", phase=TRAINING, at=rng.uniform(0.05, 0.8), seconds=SHORT_S)
    if kind == "torn":
        return Fault(kind=kind, target="job", phase=TRAINING, at=rng.uniform(0.05, 0.95))
    if kind == "clock":
        target = rng.choice((*CLOCKS, MACHINE))
        shift = rng.choice((-HOUR_S, HOUR_S))
        seconds = 0.0 if target in (MACHINE, "driver") else SHORT_S
        return Fault(kind=kind, target=target, phase=TRAINING, at=rng.uniform(0.0, 0.9), seconds=seconds, shift=shift)
    if kind == "engine":
        return Fault(kind=kind, target=rng.choice(("error", "dead", "hang")), phase=TRAINING, at=rng.uniform(0.0, 0.8))
    if kind == "stop":
        target = rng.choice(("teacher-0", "curator", "recorder", "rank-0", "training_reader"))
        seconds = LONG_S if target == "teacher-0" and rng.random() < 0.5 else SHORT_S
        return Fault(kind=kind, target=target, phase=TRAINING, at=rng.uniform(0.0, 0.9), seconds=seconds)
    target = rng.choice((*REPLICAS, *WORKERS, *ACTORS, *ACTORS, *WHOLE))
    phase = rng.choices((START, TRAINING, EXAM), (15, 70, 15))[0]
    if phase == EXAM and target not in ("student", "curator", *WHOLE):
        phase = TRAINING  # by then the others have done their work
    return Fault(kind=kind, target=target, phase=phase, at=_time(phase, rng))


def _time(phase: str, rng: random.Random) -> float:
    if phase == TRAINING:
        return rng.uniform(0.0, 0.95)
    return rng.uniform(0.0, 12.0 if phase == START else 2.0)
