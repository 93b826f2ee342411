"""Calls that are lost, without Ray: a reference is a function, and to get it is to call it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError

from dsa_ray.actors import patient


@pytest.fixture(autouse=True)
def call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.get", lambda call, timeout: call())


def actor(lost: int) -> tuple[Any, list[int]]:
    """An actor whose first calls are lost after it carried them out, and what it was asked."""
    asked: list[int] = []

    def ask(value: int) -> Callable[[], int]:
        def carry_out() -> int:
            asked.append(value)
            if len(asked) <= lost:
                raise ActorUnavailableError("lost", None)
            return value + 1

        return carry_out

    return SimpleNamespace(ask=SimpleNamespace(remote=ask)), asked


def test_a_call_that_was_lost_is_made_once_more() -> None:
    who, asked = actor(lost=1)
    assert patient.once_more(who, "ask", 1, within_s=1.0) == 2
    assert asked == [1, 1]


def test_an_actor_that_ended_is_noticed_at_once() -> None:
    who, asked = actor(lost=9)
    with pytest.raises(ActorUnavailableError):
        patient.once_more(who, "ask", 1, within_s=1.0)
    assert asked == [1, 1]
