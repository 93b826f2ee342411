"""Checks of a text by itself: each says what is wrong in words for people, or None."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from dsa_ray.records import Exercise, Textbook

MIN_TEXTBOOK = 40
"""Shortest textbook page, characters."""
MIN_QUESTION = 4
"""Shortest question, characters."""

_REFUSAL = re.compile(
    r"\bas an ai\b|\bas a (?:large )?language model\b"
    r"|\bi(?:'m| am) (?:sorry|unable to)\b.{0,40}\b(?:help|assist|provide|create|write|comply|fulfil)"
    r"|\bi (?:can(?:no|')t|can not|won't|will not) (?:help|assist|provide|create|write|comply|fulfil)",
    re.IGNORECASE | re.DOTALL,
)
_RUN = re.compile(r"(\S)\1{39}|(\S{1,12}\s+)\2{19}")
"""One character 40 times on end, or one word 20 times: a model that has lost itself."""


def texts_of(item: Textbook | Exercise) -> tuple[str, ...]:
    """The texts of an item; the first tells it from others."""
    return (item.text,) if isinstance(item, Textbook) else (item.question, item.solution, item.answer)


def too_short(item: Textbook | Exercise) -> str | None:
    """A textbook page or a question under its least length."""
    if isinstance(item, Textbook) and len(item.text) < MIN_TEXTBOOK:
        return f"text has {len(item.text)} characters, at least {MIN_TEXTBOOK}"
    if isinstance(item, Exercise) and len(item.question) < MIN_QUESTION:
        return f"question has {len(item.question)} characters, at least {MIN_QUESTION}"
    return None


def wrong_language(skills: Sequence[str], texts: Sequence[str]) -> str | None:
    """Damaged text, or, for skills named in Latin letters, text mostly of another script (Greek is mathematics)."""
    text = "\n".join(texts)
    if "\ufffd" in text or _RUN.search(text):
        return "damaged or endlessly repeated text"
    if text.isascii() or not "".join(skills).isascii():
        return None
    letters = [c for c in text if c.isalpha() and not "\u0370" <= c <= "\u03ff"]
    foreign = sum(1 for c in letters if not c.isascii() and "LATIN" not in unicodedata.name(c, ""))
    if letters and 2 * foreign > len(letters):
        return f"{foreign} of {len(letters)} letters are of another script"
    return None


def refusal(texts: Sequence[str]) -> str | None:
    """A phrase by which a model declines."""
    match = _REFUSAL.search("\n".join(texts).replace("’", "'"))
    return f"says {match.group(0)!r}" if match else None
