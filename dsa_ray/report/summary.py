"""summary.json: what happened in a run, for machines.

`build` makes the one typed `Summary` from plain counts, `write` and `read` keep it in the run folder. A figure that
was not measured is null, never zero: a run that was interrupted before its exam has no accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

FILE = "summary.json"
CHILD_KINDS = ("variant", "composed", "harder", "easier")


class SummaryError(Exception):
    """A summary that cannot be read: one line."""


class RunFiles(Protocol):
    """The part of a run folder that is needed here."""

    def write_text(self, name: str, text: str) -> Any: ...

    def read_text(self, name: str) -> str: ...


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_nan(cls, value: Any) -> Any:
        """JSON has no NaN or infinity; both mean that the figure is not known."""
        return None if isinstance(value, float) and not math.isfinite(value) else value


class Interval(Part):
    """A share of right answers with its 95 % Wilson interval."""

    value: float
    low: float
    high: float
    n: int
    """Questions asked."""


class BeforeAfter(Part):
    before: Interval | None = None
    after: Interval | None = None


class SkillAccuracy(Part):
    name: str
    level: int
    before: float | None = None
    """Share of right answers, 0..1."""
    after: float | None = None
    n: int
    """Questions of this skill in the exam."""


class Accuracy(BeforeAfter):
    """Over the skills that are taught; the elementary ones stand apart."""

    elementary: BeforeAfter = BeforeAfter()
    per_skill: dict[str, SkillAccuracy] = {}


class Exercises(Part):
    written: int = 0
    rejected: dict[str, int] = {}
    """By reason; every kind of request counts, textbooks too."""
    truncated: int = 0
    """Exercises whose solution was cut off, for `generate.long_exercises=truncate`."""


class Child(Part):
    written: int = 0
    trained: int = 0
    """Visited at least once."""


class Children(Part):
    variant: Child = Child()
    composed: Child = Child()
    harder: Child = Child()
    easier: Child = Child()


class Visits(Part):
    p50: float | None = None
    p95: float | None = None
    first_share: float | None = None
    """Share of all visits that were the first of their exercise."""


class Percentiles(Part):
    p50: float | None = None
    p95: float | None = None


class Train(Part):
    steps: int = 0
    tokens: int = 0
    tokens_per_s: float | None = None
    idle_ratio: float | None = None
    """Share of time that a rank waited for data."""
    loss_first: float | None = None
    """Mean loss of the first tenth of the exercise steps (at most ten), nats per token."""
    loss_last: float | None = None
    """The same at the end."""
    checkpoints: int = 0
    checkpoint_s: float | None = None
    """Time that training stood still for all of them, seconds."""


class Generate(Part):
    tokens: int = 0
    tokens_per_s: float | None = None
    idle_ratio: float | None = None
    """Share of time that a replica had nothing in flight."""
    replaced: int = 0
    """Replicas that were replaced because they answered garbage."""


class TaskMark(Part):
    """One metric of one evaluation task."""

    value: float
    stderr: float | None = None
    n: int = 0
    """Examples that were scored."""


class TaskMarks(Part):
    before: TaskMark | None = None
    after: TaskMark | None = None


class Summary(Part):
    """The content of summary.json."""

    state: Literal["finished", "interrupted", "failed"]
    seed: int
    accuracy: Accuracy = Accuracy()
    tasks: dict[str, dict[str, TaskMarks]] = {}
    """Task to metric to marks, as `dsa eval` found them."""
    skills: int = 0
    textbooks: int = 0
    exercises: Exercises = Exercises()
    verdicts: dict[str, int] = {}
    decisions: dict[str, int] = {}
    ladders: dict[str, int] = {}
    """Of YODA, climbed while the run trained: ladders `wanted` and `over`, and what was counted over those."""
    mixture: dict[str, Any] = {}
    """Shares of the skills by round, held-out losses and counts, where `curriculum.sampler` is not `dynamics`."""
    refused: dict[str, int] = {}
    """Losses that did not count, by reason: unknown or repeated, from an older attempt, not finite."""
    children: Children = Children()
    visits: Visits = Visits()
    train: Train = Train()
    generate: Generate = Generate()
    feedback_lag_steps: Percentiles = Percentiles()
    """From the loss that completed a verdict to the first training step on a child that it ordered."""
    feedback_lag_s: Percentiles = Percentiles()
    restarts: int = 0
    wall_s: dict[str, float] = {}
    """Seconds per phase."""
    versions: dict[str, str] = {}


def build(
    *,
    run: Mapping[str, Any],
    graph: Mapping[str, Any],
    exams: Mapping[str, Any] | None = None,
    curator: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    generate: Mapping[str, Any] | None = None,
) -> Summary:
    """Make a Summary from plain values. Whatever did not happen may be left out.

    Args:
        run: `state`, `seed`; optional `restarts`, `wall_s` {phase: seconds}, `versions` {package: version}.
        graph: node-link: `nodes` of {id, name, level, ...} (empty before there is a graph).
        exams: `before` and `after`, each None or `ExamScore.as_dict()`: {`taught`: M, `elementary`: M,
            `per_skill`: {skill id: M}}, where M is {n, accuracy, low, high}. A skill that the graph does not have
            (an elementary one that the teacher never named) keeps its id as its name.
        curator: `textbooks`, `written` (numbers), `rejected` {reason: n}, `verdicts` {class: n},
            `decisions` {action: n}, `ladders` (what `LadderBook.facts` says), `mixture` (what `Mixing.facts` says),
            `refused` {reason: losses},
            `children` {kind: {written, trained}}, `visits` (how often each exercise was trained on, zeros allowed),
            `lag` (rows of {lag_steps, lag_s}, one per first visit of a child).
        train: `steps`, `tokens`, `seconds` (of training, wall), `idle_ratio`,
            `losses` (mean loss of each exercise step, in order), `blocked_s` (of each checkpoint).
        generate: `tokens`, `seconds` (wall), `idle_ratio`, `replaced`.

    Raises:
        pydantic.ValidationError: a value of the wrong type, or an unknown state.
    """
    curator, train, generate = curator or {}, train or {}, generate or {}
    lag = curator.get("lag", ())
    first, last = _ends(train.get("losses", ()))
    return Summary(
        **run,
        accuracy=_accuracy(graph, exams or {}),
        skills=len(graph.get("nodes", ())),
        textbooks=curator.get("textbooks", 0),
        exercises={
            "written": curator.get("written", 0),
            "rejected": curator.get("rejected", {}),
            "truncated": curator.get("truncated", 0),
        },
        verdicts=curator.get("verdicts", {}),
        decisions=curator.get("decisions", {}),
        ladders=curator.get("ladders", {}),
        mixture=curator.get("mixture", {}),
        refused=curator.get("refused", {}),
        children=curator.get("children", {}),
        visits=_visits(curator.get("visits", ())),
        train={**_pace(train), **_saving(train), "loss_first": first, "loss_last": last},
        generate={**_pace(generate), "replaced": generate.get("replaced", 0)},
        feedback_lag_steps=_percentiles(row["lag_steps"] for row in lag),
        feedback_lag_s=_percentiles(row["lag_s"] for row in lag),
    )


def to_json(summary: Summary) -> str:
    return summary.model_dump_json(indent=2) + "\n"


def write(summary: Summary, run: RunFiles) -> None:
    run.write_text(FILE, to_json(summary))


def read(run: RunFiles) -> Summary:
    """Read summary.json of a run.

    Raises:
        SummaryError: not a summary of this version; one line.
    """
    try:
        return Summary.model_validate_json(run.read_text(FILE))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SummaryError(f"{FILE}: {key}: {first['msg']}; it was not written by this version") from None


def _accuracy(graph: Mapping[str, Any], exams: Mapping[str, Any]) -> dict[str, Any]:
    before, after = exams.get("before") or {}, exams.get("after") or {}
    marks = [exam.get("per_skill", {}) for exam in (before, after)]
    nodes = {node["id"]: node for node in graph.get("nodes", ())}
    examined = dict.fromkeys([*nodes, *marks[0], *marks[1]])
    return {
        "before": _interval(before.get("taught")),
        "after": _interval(after.get("taught")),
        "elementary": {
            "before": _interval(before.get("elementary")),
            "after": _interval(after.get("elementary")),
        },
        "per_skill": {
            skill: _skill_accuracy(nodes.get(skill, {"name": skill, "level": 0}), *(exam.get(skill) for exam in marks))
            for skill in examined
            if any(skill in exam for exam in marks)
        },
    }


def _skill_accuracy(
    node: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "name": node["name"],
        "level": node["level"],
        "before": before["accuracy"] if before else None,
        "after": after["accuracy"] if after else None,
        "n": max(mark["n"] for mark in (before, after) if mark),
    }


def _interval(mark: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """None also when no question was asked."""
    if not mark or not mark["n"]:
        return None
    return {"value": mark["accuracy"], "low": mark["low"], "high": mark["high"], "n": mark["n"]}


def _visits(counts: Sequence[int]) -> dict[str, float | None]:
    trained = [count for count in counts if count > 0]
    share = len(trained) / sum(trained) if trained else None
    return {**_percentiles(trained), "first_share": share}


def _percentiles(values: Iterable[float]) -> dict[str, float | None]:
    data = list(values)
    if not data:
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(data, [50, 95])
    return {"p50": float(p50), "p95": float(p95)}


def _pace(figures: Mapping[str, Any]) -> dict[str, Any]:
    tokens, seconds = figures.get("tokens", 0), figures.get("seconds", 0)
    rate = tokens / seconds if seconds else None
    return {"tokens": tokens, "tokens_per_s": rate, "idle_ratio": figures.get("idle_ratio")}


def _saving(train: Mapping[str, Any]) -> dict[str, Any]:
    blocked = train.get("blocked_s", ())
    return {
        "steps": train.get("steps", 0),
        "checkpoints": len(blocked),
        "checkpoint_s": float(sum(blocked)) if len(blocked) else None,
    }


def _ends(losses: Sequence[float]) -> tuple[float | None, float | None]:
    """Means over the first and the last tenth, of at least one and at most ten steps."""
    if not len(losses):
        return None, None
    width = min(10, max(1, len(losses) // 10))
    return float(np.mean(losses[:width])), float(np.mean(losses[-width:]))
