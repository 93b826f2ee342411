"""Answer checking, measured on GSM8K: gold answers in ten written forms must agree, wrong numbers must not.

    python jobs/bench/answers.py --data FOLDER [--quick]

Every gold answer is compared with itself in ten forms, and with eight wrong numbers, each in one of the forms drawn at
random. Solutions are graded as text too: the final answer is found in the gold solution with its last line rewritten.
`--quick` takes every tenth item.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from fractions import Fraction
from random import Random

import _gsm8k
from _answer_forms import FORMS, exact, wrong
from _result import at_least, at_most, finish

from dsa_ray.generation.answers import AnswerChecker, final_answer

TIMEOUT_S = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="where gsm8k_train.jsonl and gsm8k_test.jsonl lie")
    parser.add_argument("--quick", action="store_true", help="every tenth item")
    parsed = parser.parse_args()
    rows = [row["answer"] for split in ("train", "test") for row in _gsm8k.read(parsed.data, split)]
    gold = [text.rsplit("####", 1)[1].strip() for text in rows][:: 10 if parsed.quick else 1]
    missed: Counter[str] = Counter()
    passed: list[str] = []
    slowest, pairs, began = 0.0, 0, time.perf_counter()
    rng = Random(0)
    with AnswerChecker(TIMEOUT_S) as checker:

        def same(given: str, expected: str) -> bool:
            nonlocal slowest, pairs
            start = time.perf_counter()
            equal = checker.same(given, expected)
            slowest, pairs = max(slowest, time.perf_counter() - start), pairs + 1
            return equal

        for answer in gold:
            value = exact(answer)
            for name, form in FORMS.items():
                found = final_answer(f"Some steps.\nAnswer: {form(value)}") or ""
                missed[name] += not (same(form(value), answer) and same(found, answer))
            for other in wrong(value, rng):
                if _writable(other) and same(given := rng.choice(list(FORMS.values()))(other), answer):
                    passed.append(f"{given} for {answer}")
    seconds = time.perf_counter() - began
    for name in FORMS:
        print(f"  {name:<14} {missed[name]:>6} of {len(gold)} missed")
    print(f"  {len(passed)} wrong numbers passed {passed[:5]}")
    print(f"  {pairs:,} pairs, {pairs / seconds:,.0f} per second, the slowest {slowest:.3f} s")
    bars = {
        "agreement": at_least(1.0 - sum(missed.values()) / (len(gold) * len(FORMS)), 1.0),
        "wrong_numbers_passed": at_most(len(passed), 0),
        "slowest_s": at_most(slowest, TIMEOUT_S),
    }
    figures = {"gold": len(gold), "pairs": pairs, "pairs_per_s": round(pairs / seconds), "missed": dict(missed)}
    return finish("answers", figures, bars, packages=("math-verify", "sympy"))


def _writable(value: Fraction) -> bool:
    """Whether decimals hold it exactly, so that every form writes this very number."""
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest == 1


if __name__ == "__main__":
    sys.exit(main())
