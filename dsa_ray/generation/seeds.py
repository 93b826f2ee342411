"""A user's own exercises: rows of JSONL or Parquet files, plain or as chat messages, brought to one form."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dsa_ray.config import ConfigError
from dsa_ray.generation.answer_text import final_answer
from dsa_ray.sections import SeedConfig
from dsa_ray.storage.filesystem import Folder

LONGEST_ANSWER = 200
"""A text without a marked final answer is one itself if it is no longer than this, characters."""
_MARK = re.compile(r"\n?####[^\n]*+\s*+\Z")
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")


@dataclass(frozen=True, slots=True)
class Seed:
    """One row."""

    row: int
    """1-based."""
    skills: tuple[str, ...]
    """Names, as the file or the configuration writes them."""
    question: str
    solution: str
    answer: str

    def text(self) -> str:
        """The row as a teacher would have answered, for the same checks."""
        return json.dumps({"question": self.question, "solution": self.solution, "answer": self.answer})


@dataclass(frozen=True, slots=True)
class BadSeed:
    """A row that is no exercise: data, to be counted."""

    row: int
    detail: str


def read_seeds(source: SeedConfig) -> Iterator[Seed | BadSeed]:
    """The rows of a file in their order.

    Raises:
        ConfigError: the file cannot be read, is neither JSONL nor Parquet, or has no skill for its rows.
    """
    if (source.skill is None) == (source.skill_field is None):
        raise ConfigError(f"generate.seeds: {source.path} needs either `skill` or `skill_field`")
    for number, row in enumerate(islice(_rows(source.path), source.limit), start=1):
        yield _seed(row, number, source)


def seeds_of(examples: Iterable[tuple[str, str, str]]) -> Iterator[Seed | BadSeed]:
    """Skill, question and whole answer each, as a taxonomy has them: where the answer marks no final one and is too
    long to be one itself, its last line is."""
    for number, (skill, question, text) in enumerate(examples, start=1):
        worked = _worked(question, text)
        if worked is None:
            solution, _, last = text.strip().rpartition("\n")
            worked = (question, solution, last.strip()) if solution and len(last) <= LONGEST_ANSWER else None
        if worked is None:
            yield BadSeed(
                number, f"an answer of {len(text)} characters without a final one of {LONGEST_ANSWER} at most"
            )
        else:
            yield Seed(number, (skill,), worked[0], worked[1] or worked[2], worked[2])


def _rows(path: str) -> Iterator[Any]:
    folder, _, name = path.rpartition("/")
    try:
        data = Folder(folder or ".").read(name)
        if name.endswith(".parquet"):
            table = pq.ParquetFile(io.BytesIO(data))
            return (row for batch in table.iter_batches(1024) for row in batch.to_pylist())
        if name.endswith((".jsonl", ".json")):
            return (_parsed(line) for line in data.decode("utf-8").split("\n") if line.strip())
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise ConfigError(f"generate.seeds: {path} cannot be read ({error})") from None
    raise ConfigError(f"generate.seeds: {path} is neither .jsonl nor .parquet")


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _seed(row: Any, number: int, source: SeedConfig) -> Seed | BadSeed:
    if not isinstance(row, dict):
        return BadSeed(number, "no object")
    skills = _skills(row, source)
    if not skills:
        return BadSeed(number, f"no skill under {source.skill_field!r}")
    texts = _turns(row, source.messages_field) if source.messages_field else _columns(row, source)
    if texts is None:
        return BadSeed(number, "no question with an answer")
    question, solution, answer = texts
    return Seed(number, skills, question, solution or answer, answer)


def _skills(row: Mapping[str, Any], source: SeedConfig) -> tuple[str, ...]:
    found = source.skill if source.skill is not None else row.get(source.skill_field or "")
    names = found if isinstance(found, list) else [found]
    return tuple(name for name in names if isinstance(name, str) and any(map(str.isalnum, name)))


def _columns(row: Mapping[str, Any], source: SeedConfig) -> tuple[str, str, str] | None:
    question, answer = row.get(source.question_field), row.get(source.answer_field)
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    if not isinstance(question, str) or not isinstance(answer, str):
        return None
    if source.solution_field is not None:
        solution = row.get(source.solution_field)
        return (question, solution, answer) if isinstance(solution, str) else None
    return _worked(question, answer)


def _turns(row: Mapping[str, Any], name: str) -> tuple[str, str, str] | None:
    """The first user turn and the assistant's turn after it."""
    turns = row.get(name)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return None
    for turn, reply in pairwise(turns):
        if (turn.get("role"), reply.get("role")) == ("user", "assistant"):
            texts = turn.get("content"), reply.get("content")
            return _worked(*texts) if all(isinstance(text, str) for text in texts) else None
    return None


def _worked(question: str, text: str) -> tuple[str, str, str] | None:
    """A whole solution taken apart: its last line may mark the answer."""
    answer = final_answer(text)
    if answer is None:
        return (question, "", text) if len(text) <= LONGEST_ANSWER else None
    return question, _CALCULATOR.sub("", _MARK.sub("", text)), answer
