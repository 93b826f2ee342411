from __future__ import annotations

import pytest

from dsa_ray.generation.schemas import schema
from dsa_ray.records import EXERCISE_KINDS, Kind


@pytest.mark.parametrize("kind", sorted(EXERCISE_KINDS))
def test_all_exercise_kinds_ask_for_the_same_fields(kind: Kind) -> None:
    assert schema(kind)["required"] == ["question", "solution", "answer"]
    assert schema(kind)["additionalProperties"] is False


def test_a_schema_is_a_fresh_copy() -> None:
    schema(Kind.TEXTBOOK)["properties"].clear()
    assert schema(Kind.TEXTBOOK)["properties"] == {"text": {"type": "string"}}


def test_lists_are_bounded() -> None:
    assert schema(Kind.PREREQUISITES)["properties"]["prerequisites"]["maxItems"] == 12
