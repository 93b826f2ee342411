"""Takes a user's own exercises into a new run, before anything is written: the same checks, the same journal.

    file rows -> examiner -> `written` journal, kind `given`   accepted exercises from the start
                          -> `reject` events                   counted like a teacher's

Idempotent: a run that was killed meanwhile takes in the rows that are not there yet, under the same ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from dsa_ray.config import Config
from dsa_ray.curriculum.host import EVENTS
from dsa_ray.generation.checks import Examiner
from dsa_ray.generation.seeds import BadSeed, Seed, read_seeds
from dsa_ray.records import Completion, ExerciseRequest, Kind, Rejection
from dsa_ray.sections import SeedConfig
from dsa_ray.skills.names import Names, normalise
from dsa_ray.skills.start import kept_start, names_before
from dsa_ray.storage.journal import SegmentWriter, iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM, written_row

_GROUP = 512


def take_seeds(config: Config, run: RunFolder, examiner: Callable[[], Examiner]) -> Counter[str]:
    """Take in what `generate.seeds` names, once per run. Returns the outcomes: `accepted`, or the rejections' reasons.

    Nothing is done, and the examiner not made, where there is nothing to take in.

    Raises:
        ConfigError: a file that cannot be read.
    """
    outcomes: Counter[str] = Counter()
    if not config.generate.seeds or _done(run):
        return outcomes
    there = {row["id"] for _, rows in iter_segments(run.journal, STREAM) for row in rows}
    judge = examiner()
    writer, group, events, number = SegmentWriter(run.journal, STREAM), [], [], 0
    names = names_before(config.graph, kept_start(config.graph, run))
    for number, (source, seed) in enumerate(_all(config), start=1):
        skills = _skills(seed, names)
        if number in there:
            outcomes["accepted"] += 1
            continue
        request = ExerciseRequest(id=number, kind=Kind.GIVEN, skills=skills, difficulty=source.difficulty)
        result = _examined(judge, request, source, seed)
        if isinstance(result, Rejection):
            outcomes[result.reason] += 1
            told = {"final": True, "reason": result.reason, "detail": f"{source.path}:{seed.row} {result.detail}"}
            events.append({"event": "reject", "id": number, **told})
            continue
        outcomes["accepted"] += 1
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


def _all(config: Config) -> Iterator[tuple[SeedConfig, Seed | BadSeed]]:
    for source in config.generate.seeds:
        for seed in read_seeds(source):
            yield source, seed


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


def _examined(judge: Examiner, request: ExerciseRequest, source: SeedConfig, seed: Seed | BadSeed) -> Any:
    if isinstance(seed, BadSeed):
        return Rejection(request=request, reason="schema", detail=seed.detail)
    completion = Completion(
        request=request,
        text=seed.text(),
        finish_reason="stop",
        generator=source.path,
        generator_version=f"row {seed.row}",
        prompt_version="given",
        output_tokens=0,
        seconds=0.0,
    )
    return judge.examine(completion)
