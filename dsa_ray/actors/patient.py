"""Calls to an actor that Ray starts anew when its process ends."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, GetTimeoutError

PAUSE_S = 0.2
CALL_S = 30.0
"""A call that is not answered for so long is made again."""


class ActorAway(TimeoutError):
    """An actor that lives did not answer in time."""


def call(actor: ActorHandle, method: str, *arguments: Any, within_s: float, call_s: float = CALL_S) -> Any:
    """The answer of an idempotent method, called again while its actor is being started anew or does not answer.

    Args:
        within_s: for so long.
        call_s: deadline of one call.

    Raises:
        ActorAway: no answer within that time.
        ActorDiedError: it is not started again.
    """
    began = time.monotonic()
    while True:
        left = began + within_s - time.monotonic()
        try:
            return ray.get(getattr(actor, method).remote(*arguments), timeout=max(1.0, min(call_s, left)))
        except (ActorUnavailableError, GetTimeoutError) as error:
            if time.monotonic() - began > within_s:
                raise ActorAway(str(error)) from error
            time.sleep(PAUSE_S)


def once_more(actor: ActorHandle, method: str, *arguments: Any, within_s: float) -> Any:
    """The answer of an idempotent method to a caller that has to notice at once when the actor has ended.

    A call that was lost, or its answer, is made again; one to an actor that ended fails then too.

    Args:
        within_s: deadline of one call.

    Raises:
        ActorUnavailableError: lost twice, or the actor is being started anew.
        GetTimeoutError: no answer within that time.
    """
    try:
        return ray.get(getattr(actor, method).remote(*arguments), timeout=within_s)
    except ActorUnavailableError:
        return ray.get(getattr(actor, method).remote(*arguments), timeout=within_s)
