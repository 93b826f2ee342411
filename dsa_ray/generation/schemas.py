"""The JSON schemas of the teacher's answers, and the bounds of their strings.

The bounds are checked when an answer is parsed (`generation.parse`), not by constrained decoding: in xgrammar a
`maxLength` or `minLength` makes every mask some fifty times dearer (2 ms instead of 0.04 ms per request and token with
a vocabulary of 50,000), and `max_tokens` ends an endless string anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsa_ray.records import Kind

MAX_PREREQUISITES = 12
MAX_NAME = 80
MAX_DESCRIPTION = 200
MAX_TEXT = 12_000
MAX_QUESTION = 2_000
MAX_SOLUTION = 4_000
MAX_ANSWER = 200
MAX_CRITIQUE = 2_000
MAX_HINT = 1_000
"""Longest strings, in characters."""
SCORES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Listing:
    """The shape of an answer that is a list of names."""

    key: str
    """The one key of the object."""
    text: str
    """The second field of an entry; the first is `name`."""
    most: int
    """Longest list."""


LISTINGS = {
    Kind.PREREQUISITES: Listing("prerequisites", "description", MAX_PREREQUISITES),
    Kind.FIELDS: Listing("fields", "description", 60),
    Kind.SUBFIELDS: Listing("subfields", "description", 60),
    Kind.DISCIPLINES: Listing("disciplines", "description", 60),
    Kind.SUBJECTS: Listing("subjects", "about", 60),
    Kind.SESSIONS: Listing("sessions", "description", 40),
    Kind.CONCEPTS: Listing("concepts", "session", 240),
}
"""One for each of `records.LIST_KINDS`."""
FIELDS = {
    Kind.TEXTBOOK: {"text": MAX_TEXT},
    Kind.SYLLABUS: {"text": MAX_TEXT},
    Kind.EXERCISE: {"question": MAX_QUESTION, "solution": MAX_SOLUTION, "answer": MAX_ANSWER},
    Kind.ANSWER: {"solution": MAX_SOLUTION, "answer": MAX_ANSWER},
    Kind.CRITIQUE: {"critique": MAX_CRITIQUE},
    Kind.HINT: {"hint": MAX_HINT},
}
"""String fields and their bounds; all exercise kinds have those of `Kind.EXERCISE`."""


def schema(kind: Kind) -> dict[str, Any]:
    """The JSON schema of an answer to a request of this kind; a fresh copy."""
    if kind in LISTINGS:
        listing = LISTINGS[kind]
        item = _object({"name": {"type": "string"}, listing.text: {"type": "string"}})
        return _object({listing.key: {"type": "array", "items": item, "maxItems": listing.most}})
    strings = {name: {"type": "string"} for name in FIELDS.get(kind, FIELDS[Kind.EXERCISE])}
    return _object(strings | _JUDGEMENTS.get(kind, {}))


_JUDGEMENTS: dict[Kind, dict[str, Any]] = {
    Kind.CRITIQUE: {"score": {"type": "integer", "enum": list(SCORES)}},
    Kind.HINT: {"right": {"type": "boolean"}},
}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
