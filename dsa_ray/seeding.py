"""Takes a user's own exercises and texts into a new run, before anything is written: the same checks, same journal.

    file rows, examples of a taxonomy -> examiner -> `written` journal, kind `given`   accepted exercises from the start
    passages of a taxonomy            -> examiner -> `written` journal, `textbook`     no teacher is asked for them
                                                  -> `reject` events                   counted like a teacher's

Idempotent: a run that was killed meanwhile takes in the rows that are not there yet, under the same ids.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from dsa_ray.config import Config, ConfigError
from dsa_ray.curriculum.host import EVENTS
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.schemas import MAX_TEXT
from dsa_ray.generation.seeds import BadSeed, Seed, read_seeds, seeds_of
from dsa_ray.records import Completion, ExerciseRequest, Kind, Rejection, Written
from dsa_ray.sections import SeedConfig
from dsa_ray.skills.graph import GraphError
from dsa_ray.skills.names import Names, normalise
from dsa_ray.skills.start import Start, kept_start, names_before
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, written_row

_GROUP = 512


@dataclass(frozen=True, slots=True)
class _Given:
    """One text of the user's own."""

    request: ExerciseRequest
    origin: str
    place: str
    text: str | None
    """As a teacher would have answered; None where it is unusable."""
    fault: str = ""


def take_seeds(config: Config, run: RunFolder, examiner: Callable[[], Examiner]) -> Counter[str]:
    """Take in what `generate.seeds` and a taxonomy in `graph.file` hold, once per run.

    Returns the outcomes: `accepted`, `textbooks` (accepted passages, by skill), or the rejections' reasons. Nothing is
    done, and the examiner not made, where there is nothing to take in.

    Raises:
        ConfigError: a file that cannot be read.
    """
    outcomes: Counter[str] = Counter()
    if not (config.generate.seeds or config.graph.file) or _done(run):
        return outcomes
    try:
        start = kept_start(config.graph, run)
    except GraphError as error:
        raise ConfigError(str(error)) from None
    if not (config.generate.seeds or start.get("exercises") or start.get("passages")):
        return outcomes
    there = {row["id"] for _, rows in iter_segments(run.journal, STREAM) for row in rows}
    judge = examiner()
    writer, group, events, number = SegmentWriter(run.journal, STREAM), [], [], 0
    for given in _all(config, start):
        number = given.request.id
        accepted = "textbooks" if given.request.kind is Kind.TEXTBOOK else "accepted"
        if number in there:
            outcomes[accepted] += 1
            continue
        result = _examined(judge, given)
        if isinstance(result, Rejection):
            outcomes[result.reason] += 1
            told = {"final": True, "reason": result.reason, "detail": f"{given.origin}:{given.place} {result.detail}"}
            events.append({"event": "reject", "id": number, **told})
            continue
        outcomes[accepted] += 1
        group.append(written_row(result))
        if len(group) == _GROUP:
            writer.write(group)
            group = []
    if group:
        writer.write(group)
    judge.close()
    taken: dict[str, Any] = {"event": "seeds", "id": number, "outcomes": dict(outcomes)}
    SegmentWriter(run.journal, EVENTS).write([*events, taken])
    return outcomes


def _all(config: Config, start: Start) -> Iterator[_Given]:
    """Everything in a fixed order, with ids from 1 on."""
    names, ids = names_before(config.graph, start), count(1)
    for source, seed in _seeds(config, start):
        skills = _skills(seed, names)
        request = ExerciseRequest(id=next(ids), kind=Kind.GIVEN, skills=skills, difficulty=source.difficulty)
        if isinstance(seed, BadSeed):
            yield _Given(request, source.path, f"{seed.row}", None, seed.detail)
        else:
            yield _Given(request, source.path, f"{seed.row}", seed.text())
    pages: dict[str, dict[str, None]] = {}
    for skill, text in start.get("passages", ()):
        pages.setdefault(skill, {})[text] = None
    for skill, texts in pages.items():
        request = ExerciseRequest(id=next(ids), kind=Kind.TEXTBOOK, skills=(skill,))
        yield _Given(request, str(config.graph.file), f" {skill}", json.dumps({"text": _page(list(texts))}))


def _seeds(config: Config, start: Start) -> Iterator[tuple[SeedConfig, Seed | BadSeed]]:
    for source in config.generate.seeds:
        for seed in read_seeds(source):
            yield source, seed
    if "exercises" in start:
        taxonomy = SeedConfig(path=str(config.graph.file))
        for seed in seeds_of(start["exercises"]):
            yield taxonomy, seed


def _page(texts: list[str]) -> str:
    """As many of the passages, in their order, as a page may hold."""
    page = texts[0]
    for text in texts[1:]:
        if len(page) + len(text) + 2 <= MAX_TEXT:
            page += f"\n\n{text}"
    return page


def _done(run: RunFolder) -> bool:
    return any(row["event"] == "seeds" for _, rows in iter_segments(run.journal, EVENTS) for row in rows)


def _skills(seed: Seed | BadSeed, names: Names) -> tuple[str, ...]:
    """Ids of a row's skills; one that is not known is from then on, in whatever spelling comes later."""
    if isinstance(seed, BadSeed):
        return ("none",)
    found = []
    for word in seed.skills:
        id = names.find(word)
        if id is None:
            names.add(id := normalise(word), word)
        found.append(id)
    return tuple(dict.fromkeys(found))


def _examined(judge: Examiner, given: _Given) -> Written | Rejection:
    if given.text is None:
        return Rejection(request=given.request, reason="schema", detail=given.fault)
    completion = Completion(
        request=given.request,
        text=given.text,
        finish_reason="stop",
        generator=given.origin,
        generator_version=f"row {given.place}" if given.request.kind is Kind.GIVEN else "passages",
        prompt_version="given",
        output_tokens=0,
        seconds=0.0,
    )
    return judge.examine(completion)
