"""Finds a known skill under a name that is nearly its own: by spelling, or by what an embedding makes of it.

Both are conservative: a wrong merge loses a skill, a missed one only writes it twice. Numbers never merge
("grade 7", "grade 8"), nor words that differ at their beginning ("microeconomics", "macroeconomics").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from dsa_ray.skills.names import match_key, normalise

Embed = Callable[[Sequence[str]], np.ndarray]
"""Vectors of names, float[n, d]; their lengths do not matter."""

_STEM = 5
"""Letters at the beginning of a word that have to be equal."""


class Similar(Protocol):
    """Tells which known skill a name means, if any; grows as skills are found."""

    def find(self, name: str) -> str | None: ...

    def add(self, name: str, skill: str) -> None: ...


class SimilarSpelling:
    """Names are one skill if their words are, one by one, equal or at least `threshold` alike.

    Two words are alike by 1 - edits / length of the longer one, with insertions, deletions, replacements and swaps of
    neighbours as edits. "Theory of groups" counts as "group theory". Each new word is compared with words of about
    its length once, so that a name costs the same in a large graph as in a small one.

    Args:
        threshold: 0..1; 1 finds only what `match_key` and the turn around "of" make equal.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._words: dict[str, str] = {}
        self._by_length: defaultdict[int, list[str]] = defaultdict(list)
        self._skills: dict[tuple[str, ...], str] = {}

    def find(self, name: str) -> str | None:
        return self._skills.get(self._key(name))

    def add(self, name: str, skill: str) -> None:
        self._skills.setdefault(self._key(name), skill)

    def _key(self, name: str) -> tuple[str, ...]:
        parts = [match_key(part) for part in normalise(name).split("-of-")]
        words = [word for part in reversed(parts) for word in part.split("-")]
        return tuple(self._canonical(word) for word in words)

    def _canonical(self, word: str) -> str:
        if not word.isalpha():
            return word
        if word not in self._words:
            self._words[word] = self._nearest(word) or word
            if self._words[word] == word:
                self._by_length[len(word)].append(word)
        return self._words[word]

    def _nearest(self, word: str) -> str | None:
        reach = self._edits(len(word))
        lengths = range(len(word) - reach, len(word) + reach + 2)
        return next((other for size in lengths for other in self._by_length[size] if self._alike(word, other)), None)

    def _alike(self, word: str, other: str) -> bool:
        edits = self._edits(max(len(word), len(other)))
        if not edits or word[:_STEM] != other[:_STEM]:
            return False
        return _distance(word, other, edits) <= edits

    def _edits(self, length: int) -> int:
        return int((1.0 - self._threshold) * length + 1e-9)


class SimilarMeaning:
    """Names are one skill if the cosine of their vectors is at least `threshold`; the nearest one counts.

    Args:
        embed: makes vectors of names, such as `embedder(folder)`.
        threshold: -1..1.
    """

    def __init__(self, embed: Embed, threshold: float) -> None:
        self._embed = embed
        self._threshold = threshold
        self._skills: list[str] = []
        self._known: dict[str, np.ndarray] = {}
        self._vectors = np.zeros((0, 0), np.float32)

    def find(self, name: str) -> str | None:
        if not self._skills:
            return None
        likeness = self._vectors[: len(self._skills)] @ self._vector(name)
        best = int(np.argmax(likeness))
        if likeness[best] < self._threshold or _numbers(self._skills[best]) != _numbers(normalise(name)):
            return None
        return self._skills[best]

    def add(self, name: str, skill: str) -> None:
        vector = self._vector(name)
        if len(self._skills) == len(self._vectors):
            grown = np.zeros((max(64, 2 * len(self._vectors)), len(vector)), np.float32)
            if self._skills:
                grown[: len(self._vectors)] = self._vectors
            self._vectors = grown
        self._vectors[len(self._skills)] = vector
        self._skills.append(skill)
        self._known.clear()

    def _vector(self, name: str) -> np.ndarray:
        """Of length one; kept until the next `add`, which mostly follows upon a `find` of the same name."""
        if name not in self._known:
            vector = np.asarray(self._embed([name]), np.float32)[0]
            self._known = {name: vector / max(float(np.linalg.norm(vector)), 1e-12)}
        return self._known[name]


class AnySimilar:
    """The first answer of several."""

    def __init__(self, *parts: Similar) -> None:
        self._parts = parts

    def find(self, name: str) -> str | None:
        return next((found for part in self._parts if (found := part.find(name)) is not None), None)

    def add(self, name: str, skill: str) -> None:
        for part in self._parts:
            part.add(name, skill)


def embedder(folder: str) -> Embed:
    """Vectors by a Hugging Face encoder in a local folder: the mean of its last hidden states. Loads it now."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    def embed(names: Sequence[str]) -> np.ndarray:
        tokens = tokenizer(list(names), padding=True, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        return ((states * mask).sum(1) / mask.sum(1).clamp(min=1.0)).numpy()

    return embed


def _numbers(skill: str) -> list[str]:
    return [word for word in skill.split("-") if any(letter.isdigit() for letter in word)]


def _distance(a: str, b: str, most: int) -> int:
    """Edits between two words (optimal string alignment); above `most` merely more than `most`."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    older: list[int] = []
    old = list(range(len(b) + 1))
    for row, letter in enumerate(a, 1):
        new = [row]
        for column, other in enumerate(b, 1):
            cost = min(old[column] + 1, new[-1] + 1, old[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == b[column - 2] and a[row - 2] == other:
                cost = min(cost, older[column - 2] + 1)
            new.append(cost)
        if min(new) > most:
            return most + 1
        older, old = old, new
    return old[-1]
