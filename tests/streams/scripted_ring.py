"""The parts around the generation stream, scripted: a curator that keeps accounts, and an examiner."""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from dsa_ray.records import Assignment, Completion, Exercise, Rejection, Written
from tests.engines.scripted import assignment


class Curator:
    """Leases `total` requests once each, and again what a dead incarnation held; counts what comes back."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._waiting = list(range(total))
        self._held: dict[int, tuple[str, int]] = {}
        self._attempts: Counter[int] = Counter()
        self._incarnations: dict[str, set[int]] = {}
        self._places: set[tuple[int, int]] = set()
        self._accepted: Counter[int] = Counter()
        self._rejected: list[dict] = []

    async def lease_requests(self, replica: str, incarnation: int, n: int) -> list[Assignment]:
        seen = self._incarnations.setdefault(replica, set())
        if incarnation not in seen:
            seen.add(incarnation)
            for number, holder in list(self._held.items()):
                if holder[0] == replica:
                    self._give_back(number)
        given, self._waiting = self._waiting[:n], self._waiting[n:]
        self._held.update(dict.fromkeys(given, (replica, incarnation)))
        return [assignment(number, self._attempts[number]) for number in given]

    def _give_back(self, number: int) -> None:
        del self._held[number]
        self._attempts[number] += 1
        self._waiting.insert(0, number)

    async def accept(self, segment: int, rows: list[dict]) -> None:
        for row in rows:
            if (segment, row["row"]) in self._places:
                continue
            self._places.add((segment, row["row"]))
            self._accepted[row["id"]] += 1
            self._held.pop(row["id"], None)

    async def reject(self, rows: list[dict]) -> None:
        self._rejected.extend(rows)

    async def generation_over(self) -> bool:
        return len(self._accepted) >= self._total

    async def account(self) -> dict:
        return {
            "accepted": dict(self._accepted),
            "rejected": self._rejected,
            "incarnations": {name: len(seen) for name, seen in self._incarnations.items()},
            "again": sum(self._attempts.values()),
        }


class Examiner:
    """Passes whatever is JSON."""

    def examine(self, completion: Completion) -> Written | Rejection:
        if completion.finish_reason != "stop":
            return Rejection(request=completion.request, reason="engine", detail=completion.text)
        row = json.loads(completion.text)
        return Written(
            request=completion.request,
            item=Exercise(skills=completion.request.skills, **row),
            generator=completion.generator,
            generator_version=completion.generator_version,
            prompt_version=completion.prompt_version,
            content_hash=completion.request.id,
            input_ids=tuple(range(64)),
            prompt_tokens=20,
            output_tokens=completion.output_tokens,
            seconds=completion.seconds,
        )


def examiner(known: np.ndarray) -> Examiner:
    """What the recorder makes examiners with."""
    return Examiner()


def noting_examiner(folder: Path, known: np.ndarray) -> Examiner:
    """One that writes down what it is told of."""
    assert not known.flags.writeable or not len(known), "it lies in shared memory"
    with (folder / "known.jsonl").open("a") as file:
        file.write(json.dumps(known.tolist()) + "\n")
    return Examiner()


def broken_examiner(known: np.ndarray) -> Examiner:
    """One that raises: a broken contract, not a rejection."""

    class Broken(Examiner):
        def examine(self, completion: Completion) -> Written | Rejection:
            raise ValueError("this is no completion")

    return Broken()
