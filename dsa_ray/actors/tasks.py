"""Independent calls as Ray tasks, as many at a time as there are CPUs for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray


@ray.remote(num_cpus=1, max_retries=2)
def _call(function: Callable[..., Any], shared: Any, arguments: tuple[Any, ...]) -> Any:
    return function(shared, *arguments)


def run_tasks(
    function: Callable[..., Any], shared: Any, calls: Mapping[str, tuple[Any, ...]]
) -> Iterator[tuple[str, Any]]:
    """`function(shared, *arguments)` for every call, in parallel; (name, result) as each ends.

    Args:
        shared: given to every call, and stored once.

    Raises:
        ray.exceptions.RayTaskError: a call raised; the others are cancelled.
    """
    stored = ray.put(shared)
    waiting = {_call.remote(function, stored, arguments): name for name, arguments in calls.items()}
    try:
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            for reference in done:
                yield waiting.pop(reference), ray.get(reference)
    finally:
        for reference in waiting:
            ray.cancel(reference)
