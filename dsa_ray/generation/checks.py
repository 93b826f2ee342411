"""What a completion has to pass before it is accepted: the one way from untrusted text to a `Written`.

The checks run in a fixed order, the cheap ones first; the first that fails gives the rejection its reason. What ran and
passed stands in the item's `checks` column. The configuration switches each of them, but for those without which there
is no item: the engine's own word, the schema, and the length of a training row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from dsa_ray.config import Config
from dsa_ray.generation import text_checks
from dsa_ray.generation.answer_text import normalise
from dsa_ray.generation.decontamination import EvaluationIndex, load_questions
from dsa_ray.generation.parse import ParseFailure, clean, parse
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.generation.words import SpanIndex, content_hash, hash64
from dsa_ray.records import Completion, Exercise, Prerequisites, Rejection, Textbook, Written

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
        self, config: Config, tokenizer: StudentTokenizer, held_out: Sequence[str], known_hashes: Iterable[int] = ()
    ) -> None:
        """
        Args:
            config: for its `generate` section; the evaluation sets that it names are read here.
            tokenizer: the student's.
            held_out: exam questions that must not get into the data.
            known_hashes: content hashes of what was accepted before.
        """
        self._generate = config.generate
        self._tokenizer = tokenizer
        self._held_out = SpanIndex(held_out)
        questions = [question for path in config.generate.decontaminate for question in load_questions(path)]
        self._evaluation = EvaluationIndex(questions, config.generate.checks.contamination_jaccard)
        self._seen: dict[int, int] = dict.fromkeys(known_hashes, -1)
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
        texts = text_checks.texts_of(item)
        return self._examine_item(Candidate(completion, item, texts, *self._tokens(item), content_hash(texts[0])))

    def _examine_item(self, candidate: Candidate) -> Written | Rejection:
        for name, check in self._checks:
            if (detail := check(candidate)) is not None:
                return _rejection(candidate.completion, name, detail)
        self._seen.setdefault(candidate.content_hash, candidate.completion.request.id)
        passed = ["schema", *(name for name, _ in self._checks)]
        written = _written(candidate.completion, candidate.item, candidate.content_hash, passed)
        return replace(written, input_ids=candidate.input_ids, prompt_tokens=candidate.prompt_tokens)

    def _chosen(self) -> list[tuple[str, Check]]:
        """The checks that the configuration leaves on, in their order."""
        on = self._generate.checks
        checks: list[tuple[str, Check, bool]] = [
            ("length", lambda candidate: text_checks.too_short(candidate.item), on.length),
            ("language", _language, on.language),
            ("refusal", lambda candidate: text_checks.refusal(candidate.texts), on.refusal),
            ("contaminated", self._contaminated, on.contaminated),
            ("too_long", self._too_long, True),
            ("duplicate", self._duplicate, on.duplicate),
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
        if isinstance(candidate.item, Exercise) and len(candidate.input_ids) > most:
            return f"{len(candidate.input_ids)} tokens, at most {most}"
        return None

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


def _language(candidate: Candidate) -> str | None:
    return text_checks.wrong_language(candidate.completion.request.skills, candidate.texts)


def _written(
    completion: Completion, item: Prerequisites | Textbook | Exercise, digest: int, passed: Sequence[str]
) -> Written:
    return Written(
        request=completion.request,
        item=item,
        generator=completion.generator,
        generator_version=completion.generator_version,
        prompt_version=completion.prompt_version,
        content_hash=digest,
        answer_hash=hash64(normalise(item.answer)) if isinstance(item, Exercise) else 0,
        checks=tuple((name, "ok") for name in ("engine", "truncated", *passed)),
        output_tokens=completion.output_tokens,
        seconds=completion.seconds,
    )


def _rejection(completion: Completion, reason: str, detail: str) -> Rejection:
    short = " ".join(clean(detail[:1000]).split())[:200]
    return Rejection(request=completion.request, reason=reason, detail=short)


def make_examiner(config: Config, student: str, held_out: Sequence[str], known: Iterable[int] = ()) -> Examiner:
    """An examiner with the tokenizer of the model at `student`; `known` are hashes of what is written already."""
    return Examiner(config, StudentTokenizer(student), held_out, known)
