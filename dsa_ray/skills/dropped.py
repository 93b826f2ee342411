"""What an answer lost, for people."""

from __future__ import annotations

from dsa_ray.skills.names import tidy

_EXAMPLES = 3


class Dropped:
    """Counts what one answer lost, by reason, with a few examples: bounded, however long the answer."""

    def __init__(self, skill: str) -> None:
        self.skill = skill
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES and tidy(name)[:60] not in examples:
            examples.append(tidy(name)[:60])

    def lines(self) -> list[str]:
        return [
            f"{self.skill}: {count} {reason} ({', '.join(self._examples[reason])})"
            for reason, count in self._counts.items()
        ]
