"""Hostile teacher outputs through every check: no crash, no code run, no slow check, nothing uncounted.

    python jobs/bench/hostile.py [--quick]

100,000 mutated answers (5,000 with `--quick`) pass the examiner with all its checks on, and what is accepted goes
through the journal's form and back. A file that attacks try to make must not be there at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import _hostile
from _result import at_least, at_most, finish

from dsa_ray.config import Config, parse
from dsa_ray.embedded import shipped
from dsa_ray.generation.checks import REASONS, Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Completion, Rejection, Written
from dsa_ray.storage.texts import written_from_row, written_row

SLOWEST_S = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5,000 answers")
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    count = 5_000 if parsed.quick else 100_000
    outcomes: Counter[str] = Counter()
    broken: list[str] = []
    slowest = [(0.0, "")]
    with tempfile.TemporaryDirectory(prefix="bench-hostile-") as folder:
        canary = Path(folder) / "canary"
        examiner = Examiner(_config(), StudentTokenizer(shipped.resolve("embedded:student")), ["What is 2 times 3?"])
        began = time.perf_counter()
        for completion in _hostile.completions(count, str(canary), parsed.seed):
            start = time.perf_counter()
            told = _outcome(examiner, completion)
            slowest = sorted([*slowest, (time.perf_counter() - start, completion.text[:60])])[-3:]
            outcomes[told] += 1
            if told.startswith("broken"):
                broken.append(f"{told}: {completion.text[:80]!r}")
        seconds = time.perf_counter() - began
        examiner.close()
        code_ran = canary.exists()
    for reason, number in outcomes.most_common():
        print(f"  {reason:<16} {number:>8}")
    print(f"  {count / seconds:,.0f} per second; the slowest: {slowest[-1][0]:.3f} s for {slowest[-1][1]!r}")
    print("\n".join(broken[:10]))
    bars = {
        "crashes_or_uncounted": at_most(len(broken), 0),
        "code_run": at_most(int(code_ran), 0),
        "slowest_s": at_most(slowest[-1][0], SLOWEST_S),
        "examined": at_least(sum(outcomes.values()), 5_000 if parsed.quick else 100_000),
    }
    return finish("hostile", {"outcomes": dict(outcomes), "per_s": round(count / seconds)}, bars)


def _config() -> Config:
    checks = {"mathematics": True, "near_duplicate": 0.9, "near_duplicate_in_skill": 0.8}
    return parse(
        {
            "run": {"name": "hostile"},
            "graph": {"target": "chain rule"},
            "generate": {"checks": checks},
        }
    )


def _outcome(examiner: Examiner, completion: Completion) -> str:
    """`accepted`, the reason of a rejection, or `broken ...`: the one thing that must not happen."""
    try:
        result = examiner.examine(completion)
        if isinstance(result, Rejection):
            result.detail.encode("utf-8")
            return result.reason if result.reason in REASONS else f"broken reason {result.reason}"
        assert isinstance(result, Written)
        again = written_from_row(json.loads(json.dumps(written_row(result))))
        return "accepted" if again == result else "broken by the journal"
    except Exception as error:
        return f"broken {type(error).__name__}"


if __name__ == "__main__":
    sys.exit(main())
