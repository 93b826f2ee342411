"""JSON that is nearly right: what models get wrong most often, put right in one pass over the text.

    a backslash that begins no escape, such as LaTeX's      doubled
    a comma before a closing bracket or at the end          left out
    up to two closing brackets missing at the end           added

A text that ends inside a string is not repaired: it was cut off, and what is missing cannot be known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_MISSING = 2
"""So many brackets may be missing at the end: those of the object, and of a list in it."""
MAX_DEPTH = 100
"""Deeper nesting is nobody's answer."""

_STRAY_BACKSLASH = re.compile(r'(\\\\)|\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})')
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|,(?=\s*+(?:[}\]]|(?:```)?+\s*+\Z))|"', re.DOTALL)
"""A whole string, a bracket, a comma that nothing follows, or the quote of a string that does not end."""
_CLOSING = {"{": "}", "[": "]"}


def repaired(text: str) -> Iterator[tuple[str, str]]:
    """(what was done, the text) for every repair that changes the text, the least first. May yield nothing."""
    escaped = _STRAY_BACKSLASH.sub(r"\\\\", text) if "\\" in text else text
    if escaped != text:
        yield "backslashes", escaped
    start = escaped.find("{")
    if start < 0:
        return
    closed = _balanced(escaped[start:])
    if closed is not None and closed != escaped[start:]:
        yield "brackets", closed


def _balanced(text: str) -> str | None:
    """The object that `text` begins with, commas and missing brackets put right; None where that cannot be done."""
    kept: list[str] = []
    open_brackets: list[str] = []
    last = 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token == ",":
            kept.append(text[last : match.start()])
            last = match.end()
        elif token in _CLOSING:
            open_brackets.append(token)
            if len(open_brackets) > MAX_DEPTH:
                return None
        elif token in "}]":
            if not open_brackets or _CLOSING[open_brackets.pop()] != token:
                return None
            if not open_brackets:
                return "".join([*kept, text[last : match.end()]])
        elif token == '"':
            return None
    if len(open_brackets) > MOST_MISSING:
        return None
    missing = "".join(_CLOSING[bracket] for bracket in reversed(open_brackets))
    return "".join([*kept, text[last:].rstrip().removesuffix("```"), missing])
