"""Names of skills: the id that a name gives, and the key by which two spellings count as one skill.

Teachers write the same skill in many ways. The id keeps the words (`limits` stays `limits`); the key is coarser and
serves only to merge (our choice; how DSA merges is not published).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

MAX_ID = 80
"""Longer ids end in a hash of the whole name."""
_MOST_COMPARED = 20_000
"""With more pairs of names to compare, the nearest ones are not looked for: it would take seconds."""
MAX_NAME = 160
"""Longer names are cut for display."""

_LIST_MARK = re.compile(r"^(?:\s|[-*•·–—#>]+\s|\(?\d{1,3}[.)]\s)+")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 -]*")
_LATIN_ACCENTS = re.compile(r"(?<=[a-z])[\u0300-\u036f]+")
_SPELT_OUT = (
    (re.compile(r"\(s\)"), "s"),
    (re.compile(r"(?<=\w)\+\+"), " plus plus"),
    (re.compile(r"(?<=\w)#"), " sharp"),
    (re.compile(r"&"), " and "),
    (re.compile(r"['’‘ʼ`´]"), ""),
)
_ARTICLES = frozenset({"a", "an", "the"})
_FILLER = frozenset({"the", "of", "in", "on", "for", "to", "and", "with"})
_KEEPS_ITS_S = re.compile(r".*(?:ss|us|is|series|species)$")
_SPELLINGS = {
    "analyses": "analysis",
    "axes": "axis",
    "bases": "basis",
    "indices": "index",
    "matrices": "matrix",
    "vertices": "vertex",
    "modelling": "modeling",
    "labelling": "labeling",
    "maths": "math",
    "behaviour": "behavior",
    "colour": "color",
    "centre": "center",
    "factorise": "factorize",
    "factorising": "factorizing",
    "factorisation": "factorization",
    "optimisation": "optimization",
    "generalisation": "generalization",
}


def normalise(name: str) -> str:
    """The id of a skill: lower-case words joined by '-', letters and digits of any script; "" if nothing is left.

    Idempotent, at most `MAX_ID` characters.

    Example:
        normalise("2) L'Hôpital's  Rule!") == "lhopitals-rule"
    """
    slug = _plain_slug(name) if _PLAIN.fullmatch(name) else _slug(name)
    if not any(c.isalnum() for c in slug):
        return ""
    if len(slug) <= MAX_ID:
        return slug
    digest = hashlib.blake2b(slug.encode(), digest_size=4).hexdigest()
    return f"{slug[: MAX_ID - 9].rstrip('-')}-{digest}"


def match_key(name: str) -> str:
    """What two spellings of one skill have in common; "" where `normalise` is.

    Beyond the id it ignores English plurals, articles and small words, and some British spellings.

    Example:
        match_key("The Derivatives of Functions") == match_key("derivative: function")
    """
    words = normalise(name).split("-")
    if words[1:] and words[0] in _ARTICLES:
        words = words[1:]
    return "-".join([_singular(word) for word in words if word not in _FILLER] or words)


class Names:
    """Which skills the words of a person or a file mean: the one place where names are looked up.

    What means a skill is its id, or its name in any spelling (`match_key`).

    Args:
        skills: (id, name) pairs. Several may have one name, and words then mean all of these.
    """

    def __init__(self, skills: Iterable[tuple[str, str]] = ()) -> None:
        self._names: dict[str, str] = {}
        self._by_name: dict[str, list[str]] = {}
        self._by_id: dict[str, str] | None = None
        for id, name in skills:
            self.add(id, name)

    def add(self, id: str, name: str) -> None:
        self._names[id] = name
        if key := match_key(name):
            self._by_name.setdefault(key, []).append(id)
        self._by_id = None

    def all(self, words: str) -> tuple[str, ...]:
        """The ids of the skills that the words mean, in the order given; empty if there is none."""
        for id in (words, normalise(words)):
            if id in self._names:
                return (id,)
        key = match_key(words)
        if key in self._by_name:
            return tuple(self._by_name[key])
        if self._by_id is None:  # what few names come to
            self._by_id = {match_key(id): id for id in reversed(self._names)}
        return (self._by_id[key],) if key and key in self._by_id else ()

    def find(self, words: str) -> str | None:
        """The first of `all`, or None."""
        return next(iter(self.all(words)), None)

    def ids(self, words: Iterable[str]) -> frozenset[str]:
        """All ids that the words mean, and of those that mean no skill the ids that they would give."""
        return frozenset(id for each in words for id in self.all(each) or (normalise(each),))

    def strange(self, words: Iterable[str]) -> list[str]:
        """What to say of each of the words that mean no skill: itself in quotes, and the name that is nearest."""
        missing = [each for each in words if not self.all(each)]
        few = len(self._names) * len(missing) <= _MOST_COMPARED
        known = {name.lower(): name for name in self._names.values()} if few else {}
        close = [get_close_matches(each.lower(), known, n=1) for each in missing]
        return [
            f"{each!r:.80}" + (f" (did you mean {known[near[0]]!r:.80}?)" if near else "")
            for each, near in zip(missing, close, strict=True)
        ]


def tidy(name: str) -> str:
    """A name for people and prompts: one line, no control characters, no list mark, at most `MAX_NAME` characters."""
    visible = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in name)
    text = _LIST_MARK.sub("", " ".join(visible.split())).strip("*_` ")
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1].rstrip() + "…"


def _plain_slug(name: str) -> str:
    """What `_slug` gives for a name of English words: ten times as fast, for graphs of many thousands of skills."""
    return "-".join(name.lower().replace("-", " ").split())


def _slug(name: str) -> str:
    text = _fold(_LIST_MARK.sub("", name))
    for pattern, words in _SPELT_OUT:
        text = pattern.sub(words, text)
    return "-".join("".join(c if _in_word(c) else " " for c in text).split())


def _fold(text: str) -> str:
    """Compatibility form, lower case, accents of Latin letters removed."""
    for _ in range(2):  # folding the case can undo the form, once
        text = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFKC", _LATIN_ACCENTS.sub("", text))


def _in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def _singular(word: str) -> str:
    if word in _SPELLINGS:
        return _SPELLINGS[word]
    if len(word) < 4 or not word.endswith("s") or not word.isascii() or _KEEPS_ITS_S.match(word):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    return word[:-1]
