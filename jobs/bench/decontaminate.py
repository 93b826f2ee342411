"""Decontamination, measured on GSM8K: recall of planted test items, false alarms, checks per second.

    python jobs/bench/decontaminate.py --data FOLDER [--quick]

Every test item is planted in six forms beside the training problems. `names` keeps the numbers and gives every person
another name; `light` changes names and pronouns, the currency sign and the first words. `--quick` plants 300 items.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import _gsm8k
from _result import at_least, at_most, finish

from dsa_ray.generation.decontamination import EvaluationIndex, EvaluationQuestion

NAMES = ("Aroha", "Bjorn", "Chidi", "Dimitra", "Emre", "Farida", "Goran", "Hina", "Iker", "Jelena", "Kofi", "Leilani")
EXACT_FORMS = ("verbatim", "spaced", "cased")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="where gsm8k_train.jsonl and gsm8k_test.jsonl lie")
    parser.add_argument("--quick", action="store_true", help="plant 300 of the test items")
    parsed = parser.parse_args()
    test = [row["question"] for row in _gsm8k.read(parsed.data, "test")]
    train = [row["question"] for row in _gsm8k.read(parsed.data, "train")]
    index = EvaluationIndex(EvaluationQuestion(text, "test", line) for line, text in enumerate(test, start=1))
    planted = test[:300] if parsed.quick else test
    measured = {name: _recall(index, planted, form) for name, form in forms(test + train).items()}
    recall = {name: share for name, (share, _) in measured.items()}
    began = time.perf_counter()
    alarms = [match for text in train if (match := index.find(text)) is not None]
    per_s = len(train) / (time.perf_counter() - began)
    rate = len(alarms) / len(train)
    for name, (share, count) in measured.items():
        print(f"  {name:<10} recall {share:7.2%} of {count}")
    print(f"  {'train':<10} alarms {rate:7.3%} of {len(train)}; {per_s:,.0f} checks/s")
    for match in alarms:
        print(f"    {match}"[:150])
    bars = {f"recall_{name}": at_least(share, 0.99 if name in EXACT_FORMS else 0.9) for name, share in recall.items()}
    bars |= {"false_alarms": at_most(rate, 0.001), "checks_per_s": at_least(per_s, 10_000)}
    return finish("decontaminate", {"recall": recall, "alarms": len(alarms), "checks_per_s": round(per_s)}, bars)


def _recall(index: EvaluationIndex, planted: Sequence[str], form: Callable[[str, Random], str]) -> tuple[float, int]:
    """The share of planted items that are found, and of how many. An item without a name cannot have it changed."""
    rng = Random(0)
    texts = [(text, form(text, rng)) for text in planted]
    kept = [new for old, new in texts if new != old] or [new for _, new in texts]
    return sum(index.find(text) is not None for text in kept) / len(kept), len(kept)


def forms(texts: Sequence[str]) -> dict[str, Callable[[str, Random], str]]:
    """How an item is planted, by name; `texts` tell which words are names of people."""
    names = people(texts)
    return {
        "verbatim": lambda text, rng: text,
        "spaced": lambda text, rng: " " + re.sub(r" ", lambda _: " " * rng.randint(1, 3), text).replace(". ", ".\n"),
        "cased": lambda text, rng: rng.choice((text.upper(), text.lower(), text.title())),
        "names": lambda text, rng: renamed(text, names, rng),
        "light": lambda text, rng: light(renamed(text, names, rng)),
    }


def people(texts: Sequence[str]) -> frozenset[str]:
    """Words that stand capitalised inside sentences at least twice, never in small letters, beside a verb or 's."""
    inside: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for text in texts:
        inside.update(re.findall(r"(?<=[a-z,;] )[A-Z][a-z]{2,}\b", text))
        small.update(re.findall(r"\b[a-z]{3,}\b", text))
    return frozenset(word for word, count in inside.items() if count >= 2 and not small[word.lower()])


def renamed(text: str, names: frozenset[str], rng: Random) -> str:
    """The text with every name in it replaced, the same name by the same other name."""
    others = iter(rng.sample(NAMES, len(NAMES)) + [f"Name{number}" for number in range(50)])
    chosen: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        name = match.group()
        if name in names and name not in chosen:
            chosen[name] = next(others)
        return chosen.get(name, name)

    return re.sub(r"\b[A-Z][a-z]{2,}\b", other, text)


def light(text: str) -> str:
    """Other pronouns and currency, and another beginning; the numbers stay."""
    swaps = {"she": "he", "he": "she", "her": "his", "his": "her", "him": "her"}

    def swapped(match: re.Match[str]) -> str:
        word = swaps[match.group().lower()]
        return word.capitalize() if match.group()[0].isupper() else word

    text = re.sub(r"\b(?:she|he|her|his|him)\b", swapped, text, flags=re.IGNORECASE)
    return f"Consider this problem. {text.replace('$', '€')}"


if __name__ == "__main__":
    sys.exit(main())
