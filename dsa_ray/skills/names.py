"""Names of skills: the id that a name gives, and the key by which two spellings count as one skill.

Teachers write the same skill in many ways. The id keeps the words (`limits` stays `limits`); the key is coarser and
serves only to merge (our choice; how DSA merges is not published).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_ID = 80
"""Longer ids end in a hash of the whole name."""
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
