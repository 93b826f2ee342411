"""Text as words, for hashes and for finding one text inside another."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

SIGNS = str.maketrans({"−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "÷": "/", "⁄": "/", "’": "'"})
"""Typographic signs and what they are typed as."""

_WORD = re.compile(r"\d+(?:[.,]\d+)+|\w+|[-+*/^=<>()|%]")
_OPERATORS = frozenset("+-*/^=<>(|%")
_KEY_WORDS = 5


def words(text: str) -> list[str]:
    """Lower-case words, numbers and operators; punctuation and white space do not count.

    Example:
        words("What is 2×3.5?") == ["what", "is", "2", "*", "3.5"]
    """
    text = unicodedata.normalize("NFC", text).translate(SIGNS).replace("**", "^").replace("\\", " ")
    return _WORD.findall(text.casefold())


def hash64(text: str) -> int:
    """A stable signed 64-bit hash that is never 0 (0 stands for none)."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) or 1


def content_hash(text: str) -> int:
    """Hash of the words: equal for texts that differ in case, spacing and punctuation only."""
    return hash64(" ".join(words(text)))


class SpanIndex:
    """Finds which of many short texts occurs in a long one as a span of whole words.

    A span that an operator joins to what is beside it is another expression: "Differentiate x^2" does not occur in
    "Differentiate x^2 + 3". One look-up per word of the long text, however many short ones there are.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._spans: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
        for text in texts:
            span = tuple(words(text))
            if span:
                self._spans[span[:_KEY_WORDS]].add(span)
        self._key_lengths = sorted({len(key) for key in self._spans})

    def find(self, text: str) -> str | None:
        """The first short text found, as words, or None."""
        if not self._spans:
            return None
        long = tuple(words(text))
        for start in range(len(long)):
            for length in self._key_lengths:
                for span in self._spans.get(long[start : start + length], ()):
                    if long[start : start + len(span)] == span and not _continued(long, start, start + len(span)):
                        return " ".join(span)
        return None


def _continued(long: tuple[str, ...], start: int, end: int) -> bool:
    before = start > 0 and long[start - 1] in _OPERATORS
    after = end < len(long) and long[end] in _OPERATORS
    return before or after
