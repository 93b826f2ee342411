"""One exercise's whole story, read from the journal: where it comes from, what it was checked for, how it was learned.

`trace` gathers, `render` writes plain lines. Reading takes one pass over the journal. Events that a later restart of
the trainer made void (steps that the resumed weights never took) are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dsa_ray.records import Exercise, Prerequisites, Textbook, TextRef, Written
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.texts import STREAM, written_from_row

EVENTS = "events"
DEPTH = 32
"""Ancestors are followed no further; a chain is as long as the difficulty and the number of cycles allow."""


class UnknownExercise(Exception):
    """No event and no written item has this id: one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    step: int
    rank: int
    loss: float
    visit: int | None
    """1-based; None where the lease is not in the journal."""


@dataclass(slots=True, kw_only=True)
class Trace:
    """All that the journal knows of one id."""

    id: int
    request: Mapping[str, Any] = field(default_factory=dict)
    """The `request` event, or the request part of the written row."""
    ancestors: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    """(id, request) of parents, then of their parents, nearest first."""
    children: list[Mapping[str, Any]] = field(default_factory=list)
    """Requests that name it as a parent."""
    place: TextRef | None = None
    written: Written | None = None
    rejections: list[Mapping[str, Any]] = field(default_factory=list)
    planted: Mapping[str, Any] = field(default_factory=dict)
    """For a planted wrong answer: whose question, whose answer."""
    visits: list[Visit] = field(default_factory=list)
    verdicts: list[Mapping[str, Any]] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    """Steps after which somebody took it back."""


def trace(journal: str, exercise: int) -> Trace:
    """Gather what the journal (folder or URI) holds on an id.

    Raises:
        UnknownExercise: the id was never minted in this run.
        JournalError: the journal is broken.
    """
    found = Trace(id=exercise)
    requests: dict[int, Mapping[str, Any]] = {}
    visit_numbers: dict[int, int] = {}
    for _, rows in iter_segments(journal, EVENTS):
        for row in rows:
            if row["event"] == "request":
                requests[row["id"]] = row
            else:
                _take(found, row, visit_numbers)
    for segment, rows in iter_segments(journal, STREAM):
        for index, row in enumerate(rows):
            requests.setdefault(row["id"], row)
            if row["id"] == exercise:
                found.place, found.written = TextRef(segment=segment, row=index), written_from_row(row)
    found.request = requests.get(exercise, {})
    if not (found.request or found.planted):
        raise UnknownExercise(f"{exercise}: no exercise of this run has this id (known: {_span(requests)})")
    found.children = [row for row in requests.values() if exercise in row["parents"]]
    found.ancestors = _ancestors(found.request, requests)
    return found


def _take(found: Trace, row: Mapping[str, Any], visit_numbers: dict[int, int]) -> None:
    """Book one event on the trace, if it concerns it."""
    event = row["event"]
    if event == "lease":
        for plan in row["rows"]:
            visits = [item["visit"] for item in plan["items"] if item["exercise"] == found.id]
            if visits:
                visit_numbers[plan["step"]] = visits[0]
    elif event == "observe":
        step = row["step"]
        found.visits += [
            Visit(step=step, rank=row["rank"], loss=loss, visit=visit_numbers.get(step))
            for exercise, loss in zip(row["ids"], row["losses"], strict=True)
            if exercise == found.id
        ]
    elif event == "attempt":
        found.visits = [visit for visit in found.visits if visit.step <= row["step"]]
        found.verdicts = [verdict for verdict in found.verdicts if verdict["step"] <= row["step"]]
    elif event == "verdict" and row["exercise"] == found.id:
        found.verdicts.append(row)
    elif event == "restore" and found.id in row["exercises"]:
        found.restored.append(row["step"])
    elif event == "reject" and row["id"] == found.id:
        found.rejections.append(row)
    elif event == "plant" and row["id"] == found.id:
        found.planted = row


def _ancestors(
    request: Mapping[str, Any], requests: Mapping[int, Mapping[str, Any]]
) -> list[tuple[int, Mapping[str, Any]]]:
    found: dict[int, Mapping[str, Any]] = {}
    level = list(request.get("parents", ()))
    for _ in range(DEPTH):
        level = [parent for parent in dict.fromkeys(level) if parent not in found]
        if not level:
            break
        found |= {parent: requests.get(parent, {}) for parent in level}
        level = [parent for known in level for parent in found[known].get("parents", ())]
    return list(found.items())


def _span(ids: Iterable[int]) -> str:
    known = list(ids)
    return f"{min(known)} to {max(known)}" if known else "none yet"


def render(found: Trace) -> str:
    """Plain lines for a terminal. Model-written text cannot steer it: control characters are shown as `?`."""
    lines = [f"{found.id}  {_title(found.request)}" if found.request else f"{found.id}  planted wrong answer"]
    if found.planted:
        lines.append(_line("planted", f"question of {found.planted['question']}, answer of {found.planted['answer']}"))
    cause = found.request.get("cause")
    if cause:
        lines.append(_line("cause", f"the verdict of exercise {cause[0]} in cycle {cause[1]}"))
    lines += _many("ancestors", [f"{known}  {_title(request)}" for known, request in found.ancestors])
    lines += _written_lines(found)
    lines += _many("rejected", [f"{row['reason']}{' (final)' if row['final'] else ''}" for row in found.rejections])
    lines += _many("visits", [_visit(visit) for visit in found.visits])
    lines += _many("verdicts", [_verdict(row) for row in found.verdicts])
    lines += _many("restored", [f"by hand, after step {step}" for step in found.restored])
    lines += _many("children", [f"{row['id']}  {_title(row)}" for row in found.children])
    return "\n".join(printable(line) for line in lines + _text_lines(found.written))


def printable(text: str) -> str:
    """One line without characters that could steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _title(request: Mapping[str, Any]) -> str:
    if not request:
        return "(not in the journal)"
    return f"{request['kind']}, difficulty {request['difficulty']}: {', '.join(request['skills'])}"


def _written_lines(found: Trace) -> list[str]:
    written, place = found.written, found.place
    if written is None or place is None:
        return [] if found.planted else [_line("written", "not (yet)")]
    speed = f"{written.output_tokens} tokens in {written.seconds:.1f} s"
    return [
        _line("written", f"segment {place.segment}, row {place.row}; attempt {written.request.attempt}, {speed}"),
        _line("generator", f"{written.generator} {written.generator_version}, seed {written.request.seed}"),
        _line("prompt", written.prompt_version),
        _line("checks", ", ".join(f"{name} {result}" for name, result in written.checks)),
        _line("tokens", f"{written.tokens}, of which {written.loss_tokens} carry loss"),
    ]


def _visit(visit: Visit) -> str:
    number = "?" if visit.visit is None else visit.visit
    return f"visit {number}: step {visit.step}, rank {visit.rank}, loss {visit.loss:.4f}"


def _verdict(row: Mapping[str, Any]) -> str:
    decision = row["decision"]
    children = ", ".join(str(child) for child in row["children"])
    why = f" ({decision['reason']})" if decision.get("reason") else ""
    consequence = f"{', '.join(decision['actions'])}{why}, weight {decision['weight']:g}"
    ordered = f", ordered {children}" if children else ""
    return f"cycle {row['cycle']}, step {row['step']}: {row['verdict']} ({row['reason']}) -> {consequence}{ordered}"


def _text_lines(written: Written | None) -> list[str]:
    match written.item if written else None:
        case Exercise() as item:
            parts = [("question", item.question), ("solution", item.solution), ("answer", item.answer)]
        case Textbook() as item:
            parts = [("text", item.text)]
        case Prerequisites() as item:
            parts = [("names", "\n".join(name for name, _ in item.names))]
        case _:
            parts = []
    return [line for head, text in parts for line in _many(head, text.splitlines())]


def _many(head: str, texts: list[str]) -> list[str]:
    return [_line(head if index == 0 else "", text) for index, text in enumerate(texts)]


def _line(head: str, text: str) -> str:
    return f"  {head:<10} {text}"
