"""What flows through the generation stream, as plain data: batches of completions in, outcomes out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dsa_ray.records import Completion, Rejection, Written, shallow
from dsa_ray.storage.texts import request_from_row, written_row

Outcome = tuple[bool, str]
"""Whether a completion passed the checks, and its JSON: `written_row` or `rejection_row`."""


class StaleReader(Exception):
    """A reader of an older stream asked; a newer one has taken over, so this one has to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Completions on their way from a replica into the stream."""

    token: str
    """Confirms this batch. Unique over incarnations of a replica."""
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A batch at the end of the stream."""

    replica: int
    """Index of the replica that it came from."""
    token: str
    """What to confirm to that replica once the outcomes are durable."""
    outcomes: list[Outcome]


class Examines(Protocol):
    """`generation.checks.Examiner`, or a double."""

    def examine(self, completion: Completion) -> Written | Rejection: ...


def completion_json(completion: Completion) -> str:
    """One completion as JSON; `completion_from_json` gives back an equal record."""
    return json.dumps({**shallow(completion), "request": shallow(completion.request)})


def completion_from_json(text: str) -> Completion:
    """The inverse of `completion_json`."""
    row = json.loads(text)
    request = request_from_row(row.pop("request"))
    return Completion(request=request, **row)


def rejection_row(rejection: Rejection) -> dict[str, Any]:
    """What the curator is told of a rejection."""
    request = rejection.request
    return {
        "id": request.id,
        "attempt": request.attempt,
        "reason": rejection.reason,
        "detail": rejection.detail[:200],
        "output_tokens": rejection.output_tokens,
        "input_tokens": rejection.input_tokens,
        "seconds": rejection.seconds,
        "generator_version": rejection.generator_version,
    }


def outcome(examiner: Examines, completion: Completion) -> Outcome:
    """Examine one completion."""
    result = examiner.examine(completion)
    if isinstance(result, Written):
        return True, json.dumps(written_row(result))
    return False, json.dumps(rejection_row(result))


def outcomes_of(examiner: Examines, completions: Sequence[str]) -> tuple[list[bool], list[str]]:
    """The outcomes of completions given as JSON, as two columns in the same order."""
    pairs = [outcome(examiner, completion_from_json(text)) for text in completions]
    return [passed for passed, _ in pairs], [text for _, text in pairs]
