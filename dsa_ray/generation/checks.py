"""What a completion has to pass before it is accepted: the one way from untrusted text to a `Written`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dsa_ray.config import Config
from dsa_ray.generation.answer_text import normalise
from dsa_ray.generation.parse import ParseFailure, clean, parse
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.generation.words import SpanIndex, content_hash, hash64
from dsa_ray.records import CUT, Completion, Exercise, Prerequisites, Rejection, Textbook, Written

MIN_TEXTBOOK = 40
"""Shortest textbook page, characters."""
MIN_QUESTION = 4
"""Shortest question, characters."""

REASONS = (
    "engine",
    "truncated",
    "schema",
    "empty",
    "length",
    "language",
    "refusal",
    "contaminated",
    "too_long",
    "duplicate",
)
"""Every reason of a rejection, in the order of the checks."""

_REFUSAL = re.compile(
    r"\bas an ai\b|\bas a (?:large )?language model\b"
    r"|\bi(?:'m| am) (?:sorry|unable to)\b.{0,40}\b(?:help|assist|provide|create|write|comply|fulfil)"
    r"|\bi (?:can(?:no|')t|can not|won't|will not) (?:help|assist|provide|create|write|comply|fulfil)",
    re.IGNORECASE | re.DOTALL,
)
_RUN = re.compile(r"(\S)\1{39}|(\S{1,12}\s+)\2{19}")
"""One character 40 times on end, or one word 20 times: a model that has lost itself."""


@dataclass(frozen=True, slots=True)
class _Fault:
    reason: str
    detail: str


class Examiner:
    """Examines completions one by one; remembers what it accepted, to tell duplicates.

    Example:
        examiner = Examiner(config, StudentTokenizer(path), held_out=[q.question for q in exam])
        examiner.examine(completion)  # Written(...) or Rejection(reason="truncated")
    """

    def __init__(
        self, config: Config, tokenizer: StudentTokenizer, held_out: Sequence[str], known_hashes: Iterable[int] = ()
    ) -> None:
        """
        Args:
            config: for `generate.max_question_tokens`.
            tokenizer: the student's.
            held_out: exam questions that must not get into the data.
            known_hashes: content hashes of what was accepted before.
        """
        self._max_tokens = config.generate.max_question_tokens
        self._truncate = config.generate.long_exercises == "truncate"
        self._tokenizer = tokenizer
        self._held_out = SpanIndex(held_out)
        self._seen: dict[int, int] = dict.fromkeys(known_hashes, -1)

    def examine(self, completion: Completion) -> Written | Rejection:
        """The accepted item with its tokens and hashes, or why not. A request is no duplicate of itself."""
        fault = _ended_well(completion)
        if fault:
            return _rejection(completion, fault)
        try:
            item = parse(completion)
        except ParseFailure as failure:
            return _rejection(completion, _Fault(failure.reason, failure.detail))
        if isinstance(item, Prerequisites):
            return _written(completion, item, content_hash(" ".join(name for name, _ in item.names)), ["schema"])
        return self._examine_text(completion, item)

    def _examine_text(self, completion: Completion, item: Textbook | Exercise) -> Written | Rejection:
        texts = _texts(item)
        fault = _bounds(item) or _language(completion.request.skills, texts) or _refusal(texts)
        if fault:
            return _rejection(completion, fault)
        overlap = self._held_out.find("\n".join(texts))
        if overlap is not None:
            return _rejection(completion, _Fault("contaminated", f"holds the exam question {overlap!r}"))
        ids, prompt_tokens = self._tokens(item)
        long = isinstance(item, Exercise) and len(ids) > self._max_tokens
        if long and not (self._truncate and prompt_tokens < self._max_tokens):
            return _rejection(completion, _Fault("too_long", f"{len(ids)} tokens, at most {self._max_tokens}"))
        digest = content_hash(texts[0])
        if self._seen.setdefault(digest, completion.request.id) != completion.request.id:
            return _rejection(completion, _Fault("duplicate", f"same text as item {self._seen[digest]}"))
        passed = ["schema", "length", "language", "refusal", "contaminated", "too_long", "duplicate"]
        written = _written(completion, item, digest, passed, ids, prompt_tokens)
        return _cut(written, self._max_tokens) if long else written

    def _tokens(self, item: Textbook | Exercise) -> tuple[tuple[int, ...], int]:
        if isinstance(item, Textbook):
            return self._tokenizer.encode_textbook(item.text), 0
        return self._tokenizer.encode_exercise(item.question, item.solution, item.answer)


def _ended_well(completion: Completion) -> _Fault | None:
    if completion.finish_reason not in ("stop", "length"):
        return _Fault("engine", completion.text)
    if completion.finish_reason == "length":
        return _Fault("truncated", f"cut off after {completion.output_tokens} tokens")
    return None


def _texts(item: Textbook | Exercise) -> tuple[str, ...]:
    """The texts of an item; the first tells it from others."""
    return (item.text,) if isinstance(item, Textbook) else (item.question, item.solution, item.answer)


def _bounds(item: Textbook | Exercise) -> _Fault | None:
    if isinstance(item, Textbook) and len(item.text) < MIN_TEXTBOOK:
        return _Fault("length", f"text has {len(item.text)} characters, at least {MIN_TEXTBOOK}")
    if isinstance(item, Exercise) and len(item.question) < MIN_QUESTION:
        return _Fault("length", f"question has {len(item.question)} characters, at least {MIN_QUESTION}")
    return None


def _language(skills: Sequence[str], texts: Sequence[str]) -> _Fault | None:
    """Damaged text, or, for skills named in Latin letters, text mostly of another script (Greek is mathematics)."""
    text = "\n".join(texts)
    if "\ufffd" in text or _RUN.search(text):
        return _Fault("language", "damaged or endlessly repeated text")
    if not "".join(skills).isascii():
        return None
    letters = [c for c in text if c.isalpha() and not "\u0370" <= c <= "\u03ff"]
    foreign = sum(1 for c in letters if not c.isascii() and "LATIN" not in unicodedata.name(c, ""))
    if letters and 2 * foreign > len(letters):
        return _Fault("language", f"{foreign} of {len(letters)} letters are of another script")
    return None


def _refusal(texts: Sequence[str]) -> _Fault | None:
    match = _REFUSAL.search("\n".join(texts).replace("’", "'"))
    return _Fault("refusal", f"says {match.group(0)!r}") if match else None


def _written(
    completion: Completion,
    item: Prerequisites | Textbook | Exercise,
    digest: int,
    passed: Sequence[str],
    ids: tuple[int, ...] = (),
    prompt_tokens: int = 0,
) -> Written:
    return Written(
        request=completion.request,
        item=item,
        generator=completion.generator,
        generator_version=completion.generator_version,
        prompt_version=completion.prompt_version,
        content_hash=digest,
        answer_hash=hash64(normalise(item.answer)) if isinstance(item, Exercise) else 0,
        input_ids=ids,
        prompt_tokens=prompt_tokens,
        checks=tuple((name, "ok") for name in ("engine", "truncated", *passed)),
        output_tokens=completion.output_tokens,
        seconds=completion.seconds,
    )


def _cut(written: Written, tokens: int) -> Written:
    """The item with its first so many tokens, and a check that says so."""
    checks = tuple((name, CUT if name == "too_long" else result) for name, result in written.checks)
    return replace(written, input_ids=written.input_ids[:tokens], checks=checks)


def _rejection(completion: Completion, fault: _Fault) -> Rejection:
    detail = " ".join(clean(fault.detail[:1000]).split())[:200]
    return Rejection(request=completion.request, reason=fault.reason, detail=detail)


def make_examiner(config: Config, student: str, held_out: Sequence[str], known: Iterable[int] = ()) -> Examiner:
    """An examiner with the tokenizer of the model at `student`; `known` are hashes of what is written already."""
    return Examiner(config, StudentTokenizer(student), held_out, known)
