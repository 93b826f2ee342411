"""What is learnt from a ladder.

    answer      question -> the accepted answer
    dialogue    question, answer, feedback, ..., accepted answer: loss on the accepted answer alone

A rung that was accepted at once gives the first alone, for both would be the same. Wrong answers and feedback are
context and carry no loss (our choice; the paper's mask is not known). What a student wrote after feedback that tells
the answer is never learnt from. A rung that failed gives nothing, or, with `demonstrate`, the exercise's own solution
in the place of the accepted answer, so that a student that is always wrong can learn from its mistakes all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from dsa_ray.generation.answer_text import canonical
from dsa_ray.generation.prompts import dialogue_messages, student_answer
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.generation.words import content_hash, hash64
from dsa_ray.ladders.ladder import End, Ladder, Posed, Rung, Stage, difficulty_of
from dsa_ray.records import Exercise, ExerciseRequest, Kind, Written

LADDER = "ladder"
"""Name of the check that says which sample an exercise is."""
_STAGES = tuple(Stage)


class Form(StrEnum):
    ANSWER = "answer"
    DIALOGUE = "dialogue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One training example."""

    ladder: int
    rung: int
    stage: Stage
    level: int
    form: Form
    exercise: Exercise
    messages: tuple[dict[str, str], ...]
    """The chat; its last message is the one that carries loss."""
    versions: tuple[str, ...]
    """Who wrote each message: model and weights."""
    demonstrated: bool = False
    """The last message is the exercise's own solution, not the student's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenised:
    """A sample's tokens: the first `prompt_tokens` carry no loss."""

    sample: Sample
    input_ids: tuple[int, ...]
    prompt_tokens: int

    @property
    def loss_tokens(self) -> int:
        return len(self.input_ids) - self.prompt_tokens


def samples(ladder: Ladder, demonstrate: bool = False, templates: str | None = None) -> list[Sample]:
    """What a ladder teaches, rung by rung; of a ladder that is not over yet, the rungs that are settled.

    Args:
        demonstrate: rungs that failed are taught by their own solution.
        templates: folder with the user's own `student.j2` and `refine.j2`.
    """
    return [
        sample
        for index, rung in enumerate(ladder.rungs)
        for sample in _of_rung(ladder.id, index, rung, demonstrate, templates)
    ]


def tokenised(found: Iterable[Sample], tokenizer: StudentTokenizer, most: int) -> tuple[list[Tokenised], list[Sample]]:
    """The samples as tokens of the student's chat template; second, those of more than `most` tokens, left out."""
    fitting, too_long = [], []
    for sample in found:
        ids, prompt_tokens = tokenizer.encode_dialogue(sample.messages)
        if len(ids) <= most:
            fitting.append(Tokenised(sample=sample, input_ids=ids, prompt_tokens=prompt_tokens))
        else:
            too_long.append(sample)
    return fitting, too_long


def ordered(found: Sequence[Tokenised], curriculum: bool, seed: int) -> list[Tokenised]:
    """All basic ones, then the generalized, then the harder by level; or all shuffled. Equal ones are shuffled."""
    mixed = list(found)
    Random(seed).shuffle(mixed)
    if not curriculum:
        return mixed
    return sorted(mixed, key=lambda one: (_STAGES.index(one.sample.stage), _step(one.sample)))


def sample_row(one: Tokenised) -> dict[str, Any]:
    """A sample as plain values."""
    sample = one.sample
    return {
        "messages": list(sample.messages),
        "versions": list(sample.versions),
        "question": sample.exercise.question,
        "answer": sample.exercise.answer,
        "skills": list(sample.exercise.skills),
        "stage": sample.stage.value,
        "level": sample.level,
        "form": sample.form.value,
        "demonstrated": sample.demonstrated,
        "ladder": sample.ladder,
        "rung": sample.rung,
        "input_ids": list(one.input_ids),
        "prompt_tokens": one.prompt_tokens,
    }


def sample_name(row: Mapping[str, Any]) -> str:
    """The name of a sample within its run."""
    return f"{row['ladder']}.{row['rung']}.{row['form']}"


def sample_id(row: Mapping[str, Any], first: int) -> int:
    """The id of a sample among those that were kept for its ladder, from `first` on."""
    return first + len(Form) * row["rung"] + list(Form).index(Form(row["form"]))


def as_exercise(row: Mapping[str, Any], number: int, difficulty: int) -> Written:
    """A sample as an exercise of its run.

    Args:
        row: as `sample_row` gives it.
        number: the exercise's id.
        difficulty: of the exercise that its ladder starts from.
    """
    question, accepted = row["question"], row["messages"][-1]["content"]
    generator, _, version = row["versions"][-1].partition("@")
    return Written(
        request=ExerciseRequest(
            id=number,
            kind=Kind.GIVEN,
            skills=tuple(row["skills"]),
            difficulty=difficulty_of(difficulty, Stage(row["stage"]), row["level"]),
            parents=(row["ladder"],),
        ),
        item=Exercise(skills=tuple(row["skills"]), question=question, solution=accepted, answer=row["answer"]),
        generator=generator,
        generator_version=version,
        prompt_version=LADDER,
        content_hash=content_hash(question),
        answer_hash=hash64(canonical(row["answer"])),
        input_ids=tuple(row["input_ids"]),
        prompt_tokens=row["prompt_tokens"],
        checks=((LADDER, sample_name(row)), ("stage", row["stage"]), ("turns", str(len(row["messages"]) // 2))),
    )


def _step(sample: Sample) -> int:
    return sample.level if sample.stage is Stage.HARDER else 0


def _of_rung(ladder: int, index: int, rung: Rung, demonstrate: bool, templates: str | None) -> Iterator[Sample]:
    if rung.posed is None or rung.end not in (End.ACCEPTED, End.FAILED):
        return
    told = any(feedback.gives_away for feedback in rung.feedback)
    shown = told or rung.end is End.FAILED
    if shown and not demonstrate:
        return
    taught = _Taught(ladder, index, rung, rung.posed, shown)
    yield taught.sample(Form.ANSWER, 0, templates)
    # A failed rung's last answer got no feedback: the demonstration stands in its place.
    turns = len(rung.feedback)
    if turns and not told and all(attempt.text for attempt in rung.attempts[:turns]):
        yield taught.sample(Form.DIALOGUE, turns, templates)


@dataclass(frozen=True, slots=True)
class _Taught:
    """A rung with something to teach."""

    ladder: int
    index: int
    rung: Rung
    posed: Posed
    shown: bool

    def sample(self, form: Form, turns: int, templates: str | None) -> Sample:
        """The sample with the first so many answers and hints before the last message."""
        rung, exercise = self.rung, self.posed.exercise
        own = student_answer(exercise.solution, exercise.answer)
        text = own if self.shown else rung.attempts[-1].text
        answers, hints = rung.attempts[:turns], rung.feedback[:turns]
        texts = [*(answer.text for answer in answers), text]
        wrote = [version for pair in zip(answers, hints, strict=True) for version in (pair[0].version, pair[1].version)]
        return Sample(
            ladder=self.ladder,
            rung=self.index,
            stage=rung.stage,
            level=rung.level,
            form=form,
            exercise=exercise,
            messages=tuple(dialogue_messages(exercise.question, texts, [hint.text for hint in hints], templates)),
            versions=(self.posed.version, *wrote, self.posed.version if self.shown else rung.attempts[-1].version),
            demonstrated=self.shown,
        )
