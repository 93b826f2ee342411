"""The process that does computer algebra on answers: one JSON line in, one out. Started by `generation.answers`.

It limits its own memory and CPU time before it reads anything, and stops when its input closes. It gets LaTeX that
`generation.expressions` wrote, never a model's own text, and uses the LaTeX parser of math-verify alone: the one for
plain expressions ends in `eval`.
"""

from __future__ import annotations

import json
import logging
import math
import os
import resource
import signal
import sys
from types import FrameType
from typing import Any, TextIO

MIB = 2**20


class _OutOfTime(BaseException):
    """Not an `Exception`: computer algebra catches those."""


def main(memory_mib: int, pair_s: float) -> None:
    """Serve until standard input closes. The first line out says that it is ready, or why not."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib * MIB, memory_mib * MIB))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    logging.disable(logging.CRITICAL)
    try:
        import math_verify  # noqa: F401
    except (ImportError, MemoryError) as error:
        _reply(out, {"ready": False, "error": f"{type(error).__name__}: {error}"})
        return
    signal.signal(signal.SIGALRM, _alarm)
    _reply(out, {"ready": True})
    for line in sys.stdin:
        left, right = json.loads(line)
        _reply(out, {"same": _bounded(left, right, pair_s)})


def _bounded(left: str, right: str, pair_s: float) -> bool | None:
    """Within `pair_s` by an alarm, and, where none gets through, by the CPU limit, which ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + 2 * pair_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
    try:
        signal.setitimer(signal.ITIMER_REAL, pair_s)
        try:
            return _same(left, right)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _OutOfTime:
        return None
    except Exception:  # whatever computer algebra raises on odd input, MemoryError too, means: not shown to be equal
        return None


def _same(left: str, right: str) -> bool:
    from math_verify import LatexExtractionConfig, parse, verify

    extraction = [LatexExtractionConfig()]
    parsed = [
        parse(f"${text}$", extraction, fallback_mode="no_fallback", parsing_timeout=None) for text in (left, right)
    ]
    return bool(all(parsed) and verify(parsed[1], parsed[0], timeout_seconds=None))


def _alarm(number: int, frame: FrameType | None) -> None:
    raise _OutOfTime


def _reply(out: TextIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
