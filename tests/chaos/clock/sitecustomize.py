"""A clock that can be set: Python imports this first in every process that has this folder on its path.

A file in `DSA_CHAOS_CLOCK` holds the seconds by which a clock is ahead: of the process whose id is its name, or `all`.
What counts time that passes (`time.monotonic`) is left alone, as it is when a machine's clock is set.
"""

from __future__ import annotations

import os
import time

FOLDER = os.environ.get("DSA_CHAOS_CLOCK")
_time, _time_ns = time.time, time.time_ns


def shift() -> float:
    for name in (str(os.getpid()), "all"):
        try:
            with open(f"{FOLDER}/{name}", encoding="ascii") as file:
                return float(file.read())
        except FileNotFoundError:
            continue
    return 0.0


def set_time() -> float:
    return _time() + shift()


def set_time_ns() -> int:
    return _time_ns() + int(shift() * 1e9)


if FOLDER:
    for name, function in (("time", set_time), ("time_ns", set_time_ns)):
        # Ray pickles functions that hold `time.time`: by its name, as it does the real one.
        function.__module__, function.__name__, function.__qualname__ = "time", name, name
        setattr(time, name, function)
