"""The metrics of a live run: one table of names, and what they are worth in a given status.

The table is the truth for the publisher (`actors.metrics`), the reference (`dsa docs metrics`), the Grafana dashboard
and the alert rules (`cluster/`). Everything is a gauge, counts too: a trainer that goes back to a checkpoint takes
steps and verdicts back. Ray puts `ray_` before each name and adds labels of its own; ours are bounded in number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PREFIX = "dsa_"
RUN = "run"
"""The label that every metric has: the run's name."""
OTHER = "other"
LEVELS = 32
"""Levels of the graph from here on share one series."""
REASONS = (
    "engine", "truncated", "schema", "empty", "length", "language", "refusal", "contaminated", "too_long",
    "mathematics", "user", "duplicate", "near_duplicate", "disagreement", "judge", "poison", OTHER,
)  # fmt: skip
PHASES = ("graph", "writing", "textbooks", "exercises", "exam")
QUEUES = {"queue_depth": "requests", "outstanding": "in_flight", "unvisited": "unvisited", "open_rows": "rows"}
"""Key of the status, and the queue's name in the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One gauge. `labels` tells what the values of each label are; `run` comes on top."""

    name: str
    help: str
    labels: Mapping[str, str]

    @property
    def exported(self) -> str:
        """As Prometheus knows it."""
        return f"ray_{self.name}"


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of one metric for one set of label values."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


_REPLICA = {"replica": "name of a teacher replica, teacher-0 and on"}
_QUANTILE = {"quantile": "p50 or p95"}
_TABLE: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("phase", "1 for the phase that the run is in, 0 for the others.", {"phase": ", ".join(PHASES)}),
    ("heartbeat_seconds", "Unix time at which the driver last looked at the run.", {}),
    ("no_progress_seconds", "For how long nothing has moved: no step, no accepted or rejected item, no phase.", {}),
    ("stall_limit_seconds", "watch.stall_s: without progress for so long the run ends with exit code 3.", {}),
    ("restarts", "How often the trainer has begun again after a failure.", {}),
    ("checkpoint_step", "Step of the newest complete checkpoint.", {}),
    ("train_step", "Optimizer steps that all ranks have finished, over both phases.", {}),
    ("train_steps_planned", "Steps of the whole run, as far as they are known.", {}),
    ("train_loss", "Mean loss of the recent steps, nats per answer token.", {}),
    ("train_learning_rate", "Learning rate of the last step.", {}),
    ("train_grad_norm", "Mean norm of the gradient over the recent steps, before clipping.", {}),
    ("train_tokens_per_s", "Tokens trained on per second, all ranks, waits included.", {}),
    ("train_idle_ratio", "Share of the recent steps' time that ranks waited for rows, 0 to 1.", {}),
    ("train_step_seconds", "Mean duration of the recent steps, without waits.", {}),
    ("train_mfu", "Share of the devices' peak that training uses; where it is known or train.peak_tflops is set.", {}),
    ("generate_replicas", "Teacher replicas that are ready.", {}),
    ("generate_tokens_per_s", "Tokens written per second over the last half minute.", _REPLICA),
    ("generate_idle_ratio", "Share of the time since it was ready that a replica had no request, 0 to 1.", _REPLICA),
    ("generate_in_flight", "Requests that a replica's engine has in flight.", _REPLICA),
    ("generate_errors", "Requests that failed in a replica's engine since it started.", _REPLICA),
    ("generate_silent_seconds", "Time since a replica's last answer; grows while it has nothing to do, too.", _REPLICA),
    ("generate_replaced", "Teacher replicas that were replaced because they answered garbage.", {}),
    ("backlog", "Work that waits for a teacher and could keep it busy.", {"teacher": "number in the pool, from 0"}),
    ("queue_depth", "Depth of a queue.", {"queue": "requests: not leased yet; in_flight: leased to replicas; "
                                                   "unvisited: written, never trained on; rows: planned for ranks"}),
    ("oldest_request_seconds", "Age of the oldest request that a replica holds.", {}),
    ("skills", "Skills of the graph.", {}),
    ("textbooks", "Textbooks written.", {}),
    ("textbooks_wanted", "Textbooks that the graph calls for.", {}),
    ("exercises_written", "Exercises accepted and durable.", {}),
    ("rejections", "Items refused.", {"reason": ", ".join(REASONS)}),
    ("verdicts", "Verdicts passed.", {"verdict": "erroneous, hard_to_learn, easy_to_learn, ambiguous"}),
    ("decisions", "Consequences of verdicts.", {"decision": "drop, augment, ladder, compose, down_weight, keep"}),
    ("ladders", "Ladders of YODA, climbed while the run trains.", {"state": "wanted, over; samples: what they taught"}),
    ("children", "Exercises that verdicts ordered.", {"kind": "variant, composed, harder, easier",
                                                      "state": "written or trained"}),
    ("feedback_lag_steps", "Steps from a verdict to the first step on a child of it, over recent children.", _QUANTILE),
    ("feedback_lag_seconds", "The same in seconds.", _QUANTILE),
    ("mastery_ratio", "Share of a level's judged exercises whose newest verdict is easy_to_learn, 0 to 1.",
     {"level": f"level of the graph from 0; `{LEVELS}+` from {LEVELS} on"}),
    ("generate_tokens", "Tokens of generation so far, rejected attempts included.",
     {"of": "prompts; answers; accepted: those answers that were"}),
    ("spent_money", "What that cost at the teachers' prices.", {}),
)  # fmt: skip
METRICS = tuple(Metric(name=f"{PREFIX}{name}", help=text, labels=labels) for name, text, labels in _TABLE)
BY_NAME = {metric.name: metric for metric in METRICS}
_PLAIN = {
    "oldest_request_s": "oldest_request_seconds",
    "steps": "train_steps_planned",
    "step": "train_step",
    "replaced": "generate_replaced",
    "skills": "skills",
    "textbooks": "textbooks",
    "textbooks_wanted": "textbooks_wanted",
    "written": "exercises_written",
    "no_progress_s": "no_progress_seconds",
    "stall_s": "stall_limit_seconds",
}
_TRAIN = {
    "loss": "train_loss",
    "lr": "train_learning_rate",
    "grad_norm": "train_grad_norm",
    "tokens_per_s": "train_tokens_per_s",
    "idle_ratio": "train_idle_ratio",
    "step_s": "train_step_seconds",
    "mfu": "train_mfu",
}
_REPLICAS = {
    "tokens_per_s": "generate_tokens_per_s",
    "idle_ratio": "generate_idle_ratio",
    "in_flight": "generate_in_flight",
    "errors": "generate_errors",
    "last_progress_s": "generate_silent_seconds",
}
_COUNTS = {"verdicts": ("verdicts", "verdict"), "decisions": ("decisions", "decision")}


def samples(status: Mapping[str, Any], replicas: Sequence[Mapping[str, Any]], now: float) -> list[Sample]:
    """What the table's metrics are worth. A figure that the status does not have yet is left out.

    Args:
        status: of the curator, with `no_progress_s` and `stall_s` from the driver.
        replicas: `Replica.stats` of those that answer.
        now: Unix seconds.
    """
    found = [_sample("heartbeat_seconds", now), *_run(status), *_generation(status, replicas), *_outcome(status)]
    return [sample for sample in found if sample.value is not None]


def _run(status: Mapping[str, Any]) -> Iterator[Sample]:
    for phase in PHASES:
        yield _sample("phase", float(status.get("phase") == phase), phase=phase)
    for key, name in _PLAIN.items():
        if key in status:
            yield _sample(name, status[key])
    for key, name in _TRAIN.items():
        if key in status.get("train", {}):
            yield _sample(name, status["train"][key])
    yield _sample("restarts", max(0, status.get("attempt", 0) - 1))
    if status.get("checkpoint"):
        yield _sample("checkpoint_step", status["checkpoint"]["step"])


def _generation(status: Mapping[str, Any], replicas: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    yield _sample("generate_replicas", sum(bool(stats["ready"]) for stats in replicas))
    for stats in replicas:
        for key, name in _REPLICAS.items():
            yield _sample(name, stats[key], replica=stats["name"])
    for number, backlog in enumerate(status.get("backlog", ())):
        yield _sample("backlog", backlog, teacher=str(number))
    for key, queue in QUEUES.items():
        if key in status:
            yield _sample("queue_depth", status[key], queue=queue)
    for of, tokens in status.get("generated", {}).items():
        yield _sample("generate_tokens", tokens, of=of)
    if "money" in status.get("spent", {}):
        yield _sample("spent_money", status["spent"]["money"])


def _outcome(status: Mapping[str, Any]) -> Iterator[Sample]:
    for reason, count in _bounded(status.get("rejections", {})).items():
        yield _sample("rejections", count, reason=reason)
    for key, (name, label) in _COUNTS.items():
        for value, count in status.get(key, {}).items():
            yield _sample(name, count, **{label: str(value)})
    for kind, counts in status.get("children", {}).items():
        for state, count in counts.items():
            yield _sample("children", count, kind=kind, state=state)
    for state in ("wanted", "over", "samples"):
        if state in status.get("ladders", {}):
            yield _sample("ladders", status["ladders"][state], state=state)
    for key, name in (("feedback_lag_steps", "feedback_lag_steps"), ("feedback_lag_s", "feedback_lag_seconds")):
        for quantile, value in status.get(key, {}).items():
            yield _sample(name, value, quantile=quantile)
    yield from _mastery(status.get("mastery", {}))


def _mastery(levels: Mapping[Any, float]) -> Iterator[Sample]:
    """One series per level; the highest ones share theirs, as their mean."""
    high = [share for level, share in levels.items() if int(level) >= LEVELS]
    for level, share in levels.items():
        if int(level) < LEVELS:
            yield _sample("mastery_ratio", share, level=str(level))
    if high:
        yield _sample("mastery_ratio", sum(high) / len(high), level=f"{LEVELS}+")


def _bounded(rejections: Mapping[str, int]) -> dict[str, int]:
    """Counts by reason, where whatever the table does not know is `other`."""
    counts: dict[str, int] = {}
    for reason, count in rejections.items():
        known = reason if reason in REASONS else OTHER
        counts[known] = counts.get(known, 0) + count
    return counts


def _sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(f"{PREFIX}{name}", value, tuple(labels.items()))
