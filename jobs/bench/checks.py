"""What each check costs: microseconds per item on GSM8K's training problems, and the memory of near-duplicates.

    python jobs/bench/checks.py --data FOLDER [--quick]

Every problem goes through the examiner as a teacher's answer, with the checks of the default, then with one more at a
time; decontamination looks for GSM8K's test set. `--quick` takes 1,000 problems.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import _gsm8k
from _result import at_most, finish

from dsa_ray.config import Config, parse
from dsa_ray.embedded import shipped
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.records import Completion, ExerciseRequest, Kind, Written

NEAR_US, NEAR_KIB = 500.0, 12.0
"""Most that a near-duplicate check may take per item: microseconds and KiB."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="where gsm8k_train.jsonl and gsm8k_test.jsonl lie")
    parser.add_argument("--quick", action="store_true", help="1,000 problems")
    parsed = parser.parse_args()
    rows = _gsm8k.read(parsed.data, "train")[: 1_000 if parsed.quick else None]
    _gsm8k.read(parsed.data, "test")
    completions = [_completion(number, row) for number, row in enumerate(rows, start=1)]
    tokenizer = StudentTokenizer(shipped.resolve("embedded:student"))
    cases: dict[str, dict[str, Any]] = {
        "default": {},
        "mathematics": {"checks": {"mathematics": True}},
        "decontaminate": {"decontaminate": [str(Path(parsed.data) / "gsm8k_test.jsonl")]},
        "near_duplicate": {"checks": {"near_duplicate": 0.8, "near_duplicate_in_skill": 0.7}},
    }
    figures: dict[str, Any] = {}
    Examiner(_config(cases["near_duplicate"]), tokenizer, ()).examine(completions[0])  # its library is loaded late
    for name, generate in cases.items():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        figures[name] = _measure(Examiner(_config(generate), tokenizer, ()), completions)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        more = figures[name]["us"] - figures["default"]["us"]
        figures[name] |= {"more_us": round(more, 1), "kib_per_item": round(grown / len(rows), 2)}
        print(f"  {name:<16} {figures[name]['us']:>8.0f} us per item, {more:>+8.0f} us, {figures[name]['outcomes']}")
    bars = {"near_duplicate_us": at_most(figures["near_duplicate"]["more_us"], NEAR_US)}
    if not parsed.quick:  # of a thousand items the growth of a process says nothing
        bars["near_duplicate_kib"] = at_most(figures["near_duplicate"]["kib_per_item"], NEAR_KIB)
    skipped = ["near_duplicate_kib"] if parsed.quick else []
    return finish("checks", figures, bars, skipped, packages=("datasketch",))


def _measure(examiner: Examiner, completions: list[Completion]) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    began = time.process_time()
    for completion in completions:
        result = examiner.examine(completion)
        reason = "accepted" if isinstance(result, Written) else result.reason
        outcomes[reason] = outcomes.get(reason, 0) + 1
    seconds = time.process_time() - began
    examiner.close()
    return {"us": round(1e6 * seconds / len(completions), 1), "outcomes": outcomes}


def _completion(number: int, row: dict[str, str]) -> Completion:
    solution, _, answer = row["answer"].rpartition("####")
    text = json.dumps({"question": row["question"], "solution": solution.strip(), "answer": answer.strip()})
    return Completion(
        request=ExerciseRequest(id=number, kind=Kind.EXERCISE, skills=("word-problems",)),
        text=text,
        finish_reason="stop",
        generator="gsm8k",
        generator_version="train",
        prompt_version="given",
        output_tokens=len(text) // 4,
        seconds=0.0,
    )


def _config(generate: dict[str, Any]) -> Config:
    return parse(
        {
            "run": {"name": "checks"},
            "graph": {"target": "t"},
            "generate": {"max_question_tokens": 2_000, **generate},
            "train": {"row_tokens": 2_000},
        }
    )


if __name__ == "__main__":
    sys.exit(main())
