"""From a teacher's raw text to a record: untrusted input, so every failure is a `ParseFailure`, never a crash.

An answer is one JSON object. It may stand in a code fence or in prose; control characters, LaTeX backslashes that
were not escaped, a superfluous comma, a missing bracket at the end (`generation.repair`), a list where a text is
expected, and a bare number as the answer are put right. A key that occurs twice is not: which of the two was meant
cannot be known.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NoReturn

from dsa_ray.generation.repair import repaired
from dsa_ray.generation.schemas import FIELDS, LISTINGS, MAX_DESCRIPTION, MAX_NAME, SCORES, Listing
from dsa_ray.records import EXERCISE_KINDS, Completion, Critique, Exercise, Hint, Item, Kind, Prerequisites, Textbook

MAX_CHARACTERS = 200_000
"""A longer answer is not looked at."""
MAX_CANDIDATES = 32
"""Opening brackets that are tried before the answer counts as without JSON."""

PLACEHOLDERS = frozenset(
    {"the question", "the steps", "the final result", "the whole page", "name of a skill", "what is wrong"}
    | {"name of a field", "name of a sub-field", "name of a discipline", "name of a subject", "the whole syllabus"}
    | {"title of a session", "name of a concept", "what to look at"}
)
"""What the prompts' examples say: a model that copies it has written nothing."""


class ParseFailure(Exception):
    """The text is not an answer. `reason` is `schema`, `empty` or `length`; `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail[:200]


def parse(completion: Completion) -> Item:
    """The record that a completion holds.

    Raises:
        ParseFailure: no usable JSON object (`schema`), an empty field (`empty`), a field over its bound (`length`).
    """
    request = completion.request
    if request.kind in LISTINGS:
        listing = LISTINGS[request.kind]
        data = find_object(completion.text, listing.key)
        return Prerequisites(skill=request.skills[0], names=_names(data[listing.key], listing))
    if request.kind in (Kind.TEXTBOOK, Kind.SYLLABUS):
        data = find_object(completion.text, "text")
        return Textbook(skill=request.skills[0], text=_field(data, "text", request.kind))
    if request.kind is Kind.CRITIQUE:
        data = find_object(completion.text, "critique", "score")
        return Critique(critique=_field(data, "critique", request.kind), score=_score(data["score"]))
    if request.kind is Kind.HINT:
        data = find_object(completion.text, "hint", "right")
        return Hint(hint=_field(data, "hint", request.kind), right=_truth(data["right"]))
    answers = request.kind is Kind.ANSWER
    data = find_object(completion.text, *(() if answers else ("question",)), "solution", "answer")
    return Exercise(
        skills=request.skills,
        question=completion.question if answers else _field(data, "question", request.kind),
        solution=_solution(_field(data, "solution", request.kind)),
        answer=_answer(_field(data, "answer", request.kind)),
    )


def find_object(text: str, *keys: str) -> dict[str, Any]:
    """The first JSON object in `text` that has all the keys; numbers in it come as strings.

    Raises:
        ParseFailure: there is none among the first `MAX_CANDIDATES` objects, or the text is too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise ParseFailure("length", f"{len(text)} characters, at most {MAX_CHARACTERS}")
    found: dict[str, Any] | None = None
    for version in _versions(text):
        for candidate in _objects(version):
            if all(key in candidate for key in keys):
                return candidate
            found = found or candidate
    if found is None:
        raise ParseFailure("schema", "no JSON object in the answer")
    missing = [key for key in keys if key not in found]
    raise ParseFailure("schema", f"the JSON object lacks {', '.join(missing)}")


def clean(text: str) -> str:
    """Text that can be stored, hashed and shown: no control characters but newline and tab, no lone surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc").strip()


def _objects(text: str) -> Iterator[dict[str, Any]]:
    at = 0
    for _ in range(MAX_CANDIDATES):
        at = text.find("{", at)
        if at < 0:
            return
        decoded = _decode(text, at)
        if decoded is None:
            at += 1
            continue
        value, at = decoded
        yield value


def _versions(text: str) -> Iterator[str]:
    """The text as it is, then as repaired."""
    yield text
    for _, version in repaired(text):
        yield version


def _decode(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    """The object that begins at `at` and where it ends, or None."""
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None


class _Number(str):
    """A JSON number as it was written."""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key occurs twice")
    return result


_DECODER = json.JSONDecoder(
    strict=False, object_pairs_hook=_no_twins, parse_int=_Number, parse_float=_Number, parse_constant=_refuse
)


def _field(data: dict[str, Any], name: str, kind: Kind) -> str:
    bound = FIELDS[Kind.EXERCISE if kind in EXERCISE_KINDS else kind][name]
    text = clean(_restore_latex(_text(data[name], name)))
    if not text:
        raise ParseFailure("empty", f"{name} is empty")
    if text.casefold() in PLACEHOLDERS:
        raise ParseFailure("schema", f"{name} is copied from the prompt's example")
    if len(text) > bound:
        raise ParseFailure("length", f"{name} has {len(text)} characters, at most {bound}")
    return text


def _text(value: Any, name: str) -> str:
    if isinstance(value, _Number):
        if name == "answer":
            return str(value)
        raise ParseFailure("schema", f"{name} is a number")
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value) and name != "question":
        return ("; " if name == "answer" else "\n").join(value)
    raise ParseFailure("schema", f"{name} is {_json_type(value)}, not a string")


def _json_type(value: Any) -> str:
    return {dict: "an object", list: "a list", bool: "a truth value", type(None): "null"}.get(type(value), "unusable")


_SWALLOWED = (
    (re.compile("\x08(?=[a-z])"), r"\\b"),
    (re.compile("\x0c(?=[a-z])"), r"\\f"),
    (re.compile("\t(?=(?:imes|heta|ext|an|frac|o|riangle)(?![a-z]))"), r"\\t"),
    (re.compile("\r(?=(?:ight|ho|angle)(?![a-z]))"), r"\\r"),
    (re.compile("\n(?=(?:eq|abla)(?![a-z]))"), r"\\n"),
)


def _restore_latex(text: str) -> str:
    """`\\frac` that was written unescaped in JSON reads as a form feed and `rac`: give the backslash back."""
    for pattern, command in _SWALLOWED:
        text = pattern.sub(command, text)
    return text


_ANSWER_LINE = re.compile(r"(?:\A|\n)[ \t*#]*(?:the )?(?:final )?answer[ \t*]*:[^\n]*+\s*+\Z", re.IGNORECASE)
_ANSWER_LABEL = re.compile(r"\A[ \t*#]*(?:the )?(?:final )?answer[ \t*]*(?::|\bis\b)[ \t*]*", re.IGNORECASE)


def _solution(text: str) -> str:
    """Without a last line "Answer: ...", which the student's text adds from the answer itself."""
    text = _ANSWER_LINE.sub("", text).strip()
    if not text:
        raise ParseFailure("empty", "solution holds nothing but the answer")
    return text


def _answer(text: str) -> str:
    """One line without a label."""
    text = " ".join(_ANSWER_LABEL.sub("", text).split())
    if not text:
        raise ParseFailure("empty", "answer is empty")
    return text


def _score(value: Any) -> int:
    """Digits are compared as text: no number of any length is made of them."""
    if not isinstance(value, str) or value.strip() not in map(str, SCORES):
        raise ParseFailure("schema", f"score is not one of {SCORES[0]} to {SCORES[-1]}")
    return int(value)


_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}


def _truth(value: Any) -> bool:
    """A truth value, or the word for one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().casefold() in _TRUTHS:
        return _TRUTHS[value.strip().casefold()]
    raise ParseFailure("schema", "right is neither true nor false")


def _names(value: Any, listing: Listing) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise ParseFailure("schema", f"{listing.key} is {_json_type(value)}, not a list")
    names = [pair for entry in value[: 4 * listing.most] if (pair := _name(entry, listing.text)) is not None]
    if value and not names:
        raise ParseFailure("schema", f"no entry of {listing.key} has a usable name")
    return tuple(names[: listing.most])


def _name(entry: Any, text: str) -> tuple[str, str] | None:
    """(name, text) of one entry, on one line each; None where there is no name of bearable length."""
    name = entry.get("name") if isinstance(entry, dict) else entry
    description = entry.get(text, "") if isinstance(entry, dict) else ""
    if not isinstance(name, str) or isinstance(name, _Number):
        return None
    name = " ".join(clean(name).split())
    if not 0 < len(name) <= MAX_NAME or name.casefold() in PLACEHOLDERS:
        return None
    about = " ".join(clean(description).split()) if isinstance(description, str) else ""
    return name, about[:MAX_DESCRIPTION]
