"""What a completion has to pass before it is accepted: the one way from untrusted text to a `Written`.

The checks run in a fixed order, the cheap ones first; the first that fails gives the rejection its reason. What ran and
passed stands in the item's `checks` column. The configuration switches each of them, but for those without which there
is no item: the engine's own word, the schema, and the length of a training row.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dsa_ray.config import Config, ConfigError
from dsa_ray.generation import text_checks
from dsa_ray.generation.answer_text import canonical
from dsa_ray.generation.answers import AnswerChecker, final_answer
from dsa_ray.generation.decontamination import EvaluationIndex, load_questions
from dsa_ray.generation.mathematics import wrong_equation
from dsa_ray.generation.near_duplicates import NearDuplicates
from dsa_ray.generation.parse import ParseFailure, clean, parse
from dsa_ray.generation.seen import KnownHashes, SeenHashes
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.generation.words import SpanIndex, content_hash, hash64
from dsa_ray.records import (
    CUT,
    Completion,
    Critique,
    Exercise,
    ExerciseRequest,
    Hint,
    Item,
    Kind,
    Prerequisites,
    Rejection,
    Textbook,
    Written,
)
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.texts import STREAM, written_from_row

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
    "mathematics",
    "user",
    "duplicate",
    "near_duplicate",
)
"""Every reason of a rejection, in the order of the checks."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A parsed item on its way through the checks."""

    completion: Completion
    item: Textbook | Exercise
    texts: tuple[str, ...]
    """The texts of the item; the first tells it from others."""
    input_ids: tuple[int, ...]
    prompt_tokens: int
    content_hash: int


Check = Callable[[Candidate], str | None]
"""What is wrong, in words for people; None if nothing is."""


class Examiner:
    """Examines completions one by one; remembers what it accepted, to tell duplicates.

    Example:
        examiner = Examiner(config, StudentTokenizer(path), held_out=[q.question for q in exam])
        examiner.examine(completion)  # Written(...) or Rejection(reason="truncated")
    """

    def __init__(
        self, config: Config, tokenizer: StudentTokenizer, held_out: Sequence[str], known_hashes: KnownHashes = ()
    ) -> None:
        """
        Args:
            config: for its `generate` section; the evaluation sets that it names are read here.
            tokenizer: the student's.
            held_out: exam questions that must not get into the data.
            known_hashes: content hashes of what was accepted before, as `SeenHashes` takes them.
        """
        self._generate = config.generate
        self._tokenizer = tokenizer
        self._held_out = SpanIndex(held_out)
        questions = [question for path in config.generate.decontaminate for question in load_questions(path)]
        self._evaluation = EvaluationIndex(questions, config.generate.checks.contamination_jaccard)
        self._seen = SeenHashes(known_hashes)
        on = config.generate.checks
        near = on.near_duplicate, on.near_duplicate_in_skill
        self._near = NearDuplicates(*near, on.near_duplicate_items) if any(near) else None
        self._answers = AnswerChecker(config.evaluate.answer_timeout_s)
        self._checks = self._chosen()

    def examine(self, completion: Completion) -> Written | Rejection:
        """The accepted item with its tokens and hashes, or why not. A request is no duplicate of itself."""
        fault = _ended_well(completion)
        if fault:
            return _rejection(completion, *fault)
        try:
            item = parse(completion)
        except ParseFailure as failure:
            return _rejection(completion, failure.reason, failure.detail)
        if isinstance(item, Prerequisites):
            return _written(completion, item, content_hash(" ".join(name for name, _ in item.names)), ["schema"])
        if isinstance(item, Critique):
            return _written(completion, item, content_hash(item.critique), ["schema"])
        if isinstance(item, Hint):
            return _written(completion, item, content_hash(item.hint), ["schema"])
        return self.examine_item(completion, item)

    def examine_item(self, completion: Completion, item: Textbook | Exercise) -> Written | Rejection:
        """All checks but those of the engine's word and of the schema, on an item that is read already."""
        texts = text_checks.texts_of(item)
        return self._pass(Candidate(completion, item, texts, *self._tokens(item), content_hash(texts[0])))

    @property
    def needs_texts(self) -> bool:
        """Whether `remember` has to be told of what was accepted before, not of hashes alone."""
        return self._near is not None

    def remember(self, written: Written) -> None:
        """Take over an item that was accepted before this examiner was made, oldest first."""
        if isinstance(written.item, Textbook | Exercise):
            self._take(written.request, written.content_hash, text_checks.texts_of(written.item)[0])

    def close(self) -> None:
        """End the process that compares answers, if there is one."""
        self._answers.close()

    def _pass(self, candidate: Candidate) -> Written | Rejection:
        checks = self._checks_of(candidate.completion.request.kind)
        for name, check in checks:
            if (detail := check(candidate)) is not None:
                return _rejection(candidate.completion, name.partition(":")[0], detail)
        self._take(candidate.completion.request, candidate.content_hash, candidate.texts[0])
        passed = ["schema", *(name for name, _ in checks)]
        written = _written(candidate.completion, candidate.item, candidate.content_hash, passed)
        written = replace(written, input_ids=candidate.input_ids, prompt_tokens=candidate.prompt_tokens)
        return _cut(written, self._generate.max_question_tokens) if self._is_long(candidate) else written

    def _take(self, request: ExerciseRequest, digest: int, text: str) -> None:
        """Remember an accepted item. An answer repeats its question: it is nobody's twin."""
        if request.kind is Kind.ANSWER:
            return
        self._seen.add(digest, request.id)
        if self._near is not None:
            self._near.remember(request.id, text, request.skills)

    def _checks_of(self, kind: Kind) -> list[tuple[str, Check]]:
        if kind is Kind.ANSWER:
            return [(name, check) for name, check in self._checks if name not in ("duplicate", "near_duplicate")]
        return self._checks

    def _chosen(self) -> list[tuple[str, Check]]:
        """The checks that the configuration leaves on, in their order."""
        on = self._generate.checks
        checks: list[tuple[str, Check, bool]] = [
            ("length", lambda candidate: text_checks.too_short(candidate.item), on.length),
            ("language", _language, on.language),
            ("refusal", lambda candidate: text_checks.refusal(candidate.texts), on.refusal),
            ("contaminated", self._contaminated, on.contaminated),
            ("too_long", self._too_long, True),
            ("mathematics", self._mathematics, on.mathematics),
            *((f"user:{path}", _user_check(path), True) for path in on.user),
            ("duplicate", self._duplicate, on.duplicate),
            ("near_duplicate", self._near_duplicate, self._near is not None),
        ]
        return [(name, check) for name, check, wanted in checks if wanted]

    def _contaminated(self, candidate: Candidate) -> str | None:
        overlap = self._held_out.find("\n".join(candidate.texts))
        if overlap is not None:
            return f"holds the exam question {overlap!r}"
        if not len(self._evaluation):
            return None
        match = self._evaluation.find(candidate.texts[0], candidate.texts[1:])
        return None if match is None else f"repeats {match}"

    def _too_long(self, candidate: Candidate) -> str | None:
        most = self._generate.max_question_tokens
        if not self._is_long(candidate):
            return None
        if self._generate.long_exercises == "truncate" and candidate.prompt_tokens < most:
            return None
        return f"{len(candidate.input_ids)} tokens, at most {most}"

    def _is_long(self, candidate: Candidate) -> bool:
        return isinstance(candidate.item, Exercise) and len(candidate.input_ids) > self._generate.max_question_tokens

    def _mathematics(self, candidate: Candidate) -> str | None:
        if not isinstance(candidate.item, Exercise):
            return None
        wrong = wrong_equation(candidate.item.solution)
        if wrong is not None:
            return f"{wrong} does not hold"
        own = final_answer(candidate.item.solution)
        if own is not None and not self._answers.same(own, candidate.item.answer):
            return f"the solution comes to {own!r}, the answer is {candidate.item.answer!r}"
        return None

    def _near_duplicate(self, candidate: Candidate) -> str | None:
        assert self._near is not None
        request = candidate.completion.request
        twin = self._near.find(request.id, candidate.texts[0], request.skills)
        return None if twin is None else f"{twin.similarity:.2f} like item {twin.id}"

    def _duplicate(self, candidate: Candidate) -> str | None:
        twin = self._seen.get(candidate.content_hash)
        return None if twin in (None, candidate.completion.request.id) else f"same text as item {twin}"

    def _tokens(self, item: Textbook | Exercise) -> tuple[tuple[int, ...], int]:
        if isinstance(item, Textbook):
            return self._tokenizer.encode_textbook(item.text), 0
        return self._tokenizer.encode_exercise(item.question, item.solution, item.answer)


def _ended_well(completion: Completion) -> tuple[str, str] | None:
    """Reason and detail if the engine itself says that this is no whole answer."""
    if completion.finish_reason not in ("stop", "length"):
        return "engine", completion.text
    if completion.finish_reason == "length":
        return "truncated", f"cut off after {completion.output_tokens} tokens"
    return None


def _user_check(path: str) -> Check:
    """A user's own check; what it raises on an item rejects the item, with the error for people."""
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"generate.checks.user: {path!r} cannot be imported ({error}); write package.module:function"
        ) from None
    if not callable(function):
        raise ConfigError(f"generate.checks.user: {path!r} is no function; write package.module:function")

    def check(candidate: Candidate) -> str | None:
        try:
            detail = function(candidate.item)
        except Exception as error:
            return f"{path} raised {type(error).__name__}: {error}"
        return None if detail is None else f"{path}: {detail}"

    return check


def _language(candidate: Candidate) -> str | None:
    return text_checks.wrong_language(candidate.completion.request.skills, candidate.texts)


def _written(completion: Completion, item: Item, digest: int, passed: Sequence[str]) -> Written:
    return Written(
        request=completion.request,
        item=item,
        generator=completion.generator,
        generator_version=completion.generator_version,
        prompt_version=completion.prompt_version,
        content_hash=digest,
        answer_hash=hash64(canonical(item.answer)) if isinstance(item, Exercise) else 0,
        checks=tuple((name, "ok") for name in ("engine", "truncated", *passed)),
        output_tokens=completion.output_tokens,
        seconds=completion.seconds,
        input_tokens=completion.input_tokens,
    )


def _rejection(completion: Completion, reason: str, detail: str) -> Rejection:
    short = " ".join(clean(detail[:1000]).split())[:200]
    return Rejection(
        request=completion.request,
        reason=reason,
        detail=short,
        output_tokens=completion.output_tokens,
        input_tokens=completion.input_tokens,
        seconds=completion.seconds,
        generator_version=completion.generator_version,
    )


def _cut(written: Written, tokens: int) -> Written:
    """The item with its first so many tokens, and a check that says so."""
    checks = tuple((name, CUT if name == "too_long" else result) for name, result in written.checks)
    return replace(written, input_ids=written.input_ids[:tokens], checks=checks)


def make_examiner(
    config: Config, student: str, held_out: Sequence[str], known: KnownHashes = (), journal: str | None = None
) -> Examiner:
    """An examiner with the tokenizer of the model at `student`, inside the process that will use it.

    Args:
        config: of the run.
        student: the student's model, with `embedded:...` resolved.
        held_out: exam questions.
        known: content hashes of what is written already.
        journal: the run's journal, from which near-duplicates of what is written already are told.
    """
    examiner = Examiner(config, StudentTokenizer(student, config.generate.prompts), held_out, known)
    if journal is not None and examiner.needs_texts:
        for _, rows in iter_segments(journal, STREAM):
            for row in rows:
                examiner.remember(written_from_row(row))
    return examiner
