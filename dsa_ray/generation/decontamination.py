"""Does a text repeat a question of an evaluation set? Such an item must not be trained on.

GLAN removes pairs that contain questions of its benchmarks and does not say how they are found. Here a question counts
as found when its words are the same, when its 5-grams overlap with Jaccard similarity of at least 0.2, or when a longer
text holds every 5-gram of it. One inverted index from 5-grams to questions answers all three.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dsa_ray.config import ConfigError
from dsa_ray.generation.words import words
from dsa_ray.storage.filesystem import Folder

GRAM = 5
"""Words in a gram."""
JACCARD = 0.2
CONTAINED_WORDS = 8
"""A shorter question is not looked for inside longer texts: it stands in too many of them."""


@dataclass(frozen=True, slots=True)
class EvaluationQuestion:
    """A question that must not get into the data, and where it comes from.

    Example:
        EvaluationQuestion("How many eggs are left?", "gsm8k_test.jsonl", 17)
    """

    text: str
    source: str
    """Name of its file."""
    line: int
    """1-based."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which question was found, and how."""

    question: EvaluationQuestion
    how: str
    """`exact`, `jaccard` or `contained`."""
    similarity: float
    """Jaccard similarity of the 5-grams; 1 where the words are the same or contained."""

    def __str__(self) -> str:
        found = self.question
        return f"{found.source}:{found.line} ({self.how} {self.similarity:.2f}): {' '.join(found.text.split())}"


class EvaluationIndex:
    """Finds questions of evaluation sets; read only once built, so threads may share it.

    Args:
        questions: all that must not be repeated.
        jaccard: from this similarity of 5-grams on, two questions count as the same.
    """

    def __init__(self, questions: Iterable[EvaluationQuestion], jaccard: float = JACCARD) -> None:
        self._jaccard = jaccard
        self._questions = tuple(questions)
        self._exact: dict[int, int] = {}
        self._sizes: list[int] = []
        self._long: list[bool] = []
        postings: dict[int, list[int]] = defaultdict(list)
        for number, question in enumerate(self._questions):
            tokens = words(question.text)
            grams = _grams(tokens)
            if tokens:
                self._exact.setdefault(hash(tuple(tokens)), number)
            self._sizes.append(len(grams))
            self._long.append(len(tokens) >= CONTAINED_WORDS)
            for gram in grams:
                postings[gram].append(number)
        self._postings = {gram: tuple(numbers) for gram, numbers in postings.items()}

    def __len__(self) -> int:
        return len(self._questions)

    def find(self, question: str, others: Sequence[str] = ()) -> Match | None:
        """The evaluation question that an item repeats, the most similar one; None where there is none.

        Args:
            question: what the item asks, or its whole text where it asks nothing.
            others: further texts of the item (solution, answer), in which a whole question may stand.
        """
        tokens = words(question)
        if (number := self._exact.get(hash(tuple(tokens)))) is not None:
            return Match(self._questions[number], "exact", 1.0)
        grams = _grams(tokens)
        return self._similar(grams) or self._contained([grams, *(_grams(words(text)) for text in others)])

    def _similar(self, grams: set[int]) -> Match | None:
        best, found = 0.0, -1
        for number, shared in self._shared(grams).items():
            similarity = shared / (len(grams) + self._sizes[number] - shared)
            if similarity > best:
                best, found = similarity, number
        return Match(self._questions[found], "jaccard", best) if found >= 0 and best >= self._jaccard else None

    def _contained(self, texts: Sequence[set[int]]) -> Match | None:
        for grams in texts:
            for number, shared in self._shared(grams).items():
                if shared == self._sizes[number] and self._long[number]:
                    return Match(self._questions[number], "contained", 1.0)
        return None

    def _shared(self, grams: set[int]) -> Counter[int]:
        """How many grams each question shares with these."""
        counts: Counter[int] = Counter()
        for numbers in filter(None, map(self._postings.get, grams)):
            counts.update(numbers)
        return counts


def load_questions(path: str) -> list[EvaluationQuestion]:
    """Read an evaluation set: a JSONL file, local or any fsspec URI, with a `question` per line; empty lines count not.

    Raises:
        ConfigError: unreadable, a line that is no JSON object with a text under `question`, or no question at all.
    """
    folder, _, name = path.rpartition("/")
    try:
        text = Folder(folder or ".").read(name).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"generate.decontaminate: {path} cannot be read ({error}); give a JSONL file") from None
    lines = enumerate(text.split("\n"), start=1)
    found = [EvaluationQuestion(_question(line, path, number), name, number) for number, line in lines if line.strip()]
    if not found:
        raise ConfigError(f"generate.decontaminate: {path} holds no question; give a JSONL file with `question`")
    return found


def _question(line: str, path: str, number: int) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("question"), str):
        raise ConfigError(
            f"generate.decontaminate: {path}:{number} is no JSON object with a text under `question`; mend the line"
        )
    return row["question"]


def _grams(tokens: Sequence[str]) -> set[int]:
    """Hashes of the 5-grams; of this process only, since Python salts the hashes of text."""
    return set(map(hash, zip(*(tokens[start:] for start in range(GRAM)), strict=False)))
