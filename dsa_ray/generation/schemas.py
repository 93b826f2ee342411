"""The JSON schemas of the teacher's answers.

Every string and list is bounded, so that a model under constrained decoding cannot go on for ever. The same bounds
hold for answers written without constraint (`generation.parse`).
"""

from __future__ import annotations

from typing import Any

from dsa_ray.records import Kind

MAX_PREREQUISITES = 12
MAX_NAME = 80
MAX_DESCRIPTION = 200
MAX_TEXT = 12_000
MAX_QUESTION = 2_000
MAX_SOLUTION = 4_000
MAX_ANSWER = 200
"""Longest strings, in characters."""


def schema(kind: Kind) -> dict[str, Any]:
    """The JSON schema of an answer to a request of this kind; a fresh copy."""
    if kind is Kind.PREREQUISITES:
        item = _object({"name": _string(MAX_NAME), "description": _string(MAX_DESCRIPTION, least=0)})
        return _object({"prerequisites": {"type": "array", "items": item, "maxItems": MAX_PREREQUISITES}})
    if kind is Kind.TEXTBOOK:
        return _object({"text": _string(MAX_TEXT)})
    return _object(
        {"question": _string(MAX_QUESTION), "solution": _string(MAX_SOLUTION), "answer": _string(MAX_ANSWER)}
    )


def _string(most: int, least: int = 1) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
