"""The words and figures of the page: title, headline cards, table rows, facts of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from dsa_ray.report import words
from dsa_ray.report.charts import frame
from dsa_ray.report.charts.graph import prerequisites
from dsa_ray.report.summary import CHILD_KINDS, SkillAccuracy, Summary


@dataclass(frozen=True)
class Card:
    head: str
    value: str
    unit: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SkillRow:
    name: str
    level: int
    needs: int
    before: float | None
    after: float | None
    change: float | None
    n: int


@dataclass(frozen=True)
class CoverageRow:
    """A subject with a syllabus: its sessions, its key concepts, and those on which exercises were written."""

    name: str
    sessions: int
    concepts: int
    covered: int
    missing: str
    """Some of the key concepts without an exercise."""


NAMED_MISSING = 4
"""So many key concepts of a subject are named."""


def title(config: Mapping[str, Any], graph: Mapping[str, Any]) -> str:
    """The target in words: from the graph, else from the configuration."""
    target = graph.get("graph", {}).get("target")
    named = next((node["name"] for node in graph.get("nodes", ()) if node["id"] == target), None)
    return named or config.get("graph", {}).get("target") or "A run without a target"


def gain(summary: Summary) -> float | None:
    """Percentage points gained on the taught skills."""
    before, after = summary.accuracy.before, summary.accuracy.after
    return 100 * (after.value - before.value) if before and after else None


def cards(summary: Summary) -> list[Card]:
    rejected = sum(summary.exercises.rejected.values())
    children = [getattr(summary.children, kind) for kind in CHILD_KINDS]
    train, generate, lag = summary.train, summary.generate, summary.feedback_lag_steps
    known = summary.verdicts
    return [
        Card("Skills", words.number(summary.skills), "", (words.plural(summary.textbooks, "textbook"),)),
        Card("Exercises", words.short(summary.exercises.written), "written", (f"{rejected:,} rejected",)),
        Card("Verdicts", words.short(sum(known.values())), "",
             (f"{known.get('hard_to_learn', 0):,} hard, {known.get('easy_to_learn', 0):,} easy",
              f"{known.get('erroneous', 0):,} erroneous")),
        Card("Children", words.short(sum(child.trained for child in children)), "trained",
             (f"of {sum(child.written for child in children):,} written",)),
        Card("Feedback lag", words.number(lag.p50), "steps",
             (f"p95 {words.number(lag.p95)} steps", f"p50 {words.duration(summary.feedback_lag_s.p50)}")),
        Card("Training", words.short(train.tokens_per_s), "tokens/s",
             (f"idle {words.percent(train.idle_ratio)}",
              f"loss {words.number(train.loss_first, 2)} → {words.number(train.loss_last, 2)}")),
        Card("Generation", words.short(generate.tokens_per_s), "tokens/s",
             (f"idle {words.percent(generate.idle_ratio)}", f"{words.short(generate.tokens)} tokens")),
    ]  # fmt: skip


def skill_rows(summary: Summary, graph: Mapping[str, Any]) -> list[SkillRow]:
    """One row per skill in the graph's order; before them those that were only examined."""
    needs, marks = prerequisites(graph), summary.accuracy.per_skill
    skills = {node["id"]: (node["name"], node["level"]) for node in graph.get("nodes", ())}
    skills = {**{key: (mark.name, mark.level) for key, mark in marks.items() if key not in skills}, **skills}
    return [_skill_row(name, level, len(needs.get(key, ())), marks.get(key)) for key, (name, level) in skills.items()]


def coverage_rows(coverage: Sequence[Mapping[str, Any]], graph: Mapping[str, Any]) -> list[CoverageRow]:
    """One row per subject of the ledger (`skills.coverage.Coverage.rows`), in its order."""
    names = {node["id"]: node["name"] for node in graph.get("nodes", ())}
    subjects: dict[str, list[Mapping[str, Any]]] = {}
    for row in coverage:
        subjects.setdefault(row["subject"], []).append(row)
    rows = []
    for subject, concepts in subjects.items():
        missing = [row["concept"] for row in concepts if not row["written"]]
        more = len(missing) - NAMED_MISSING
        named = "; ".join(missing[:NAMED_MISSING]) + (f"; and {more:,} more" if more > 0 else "")
        sessions = len({row["session"] for row in concepts})
        rows.append(
            CoverageRow(names.get(subject, subject), sessions, len(concepts), len(concepts) - len(missing), named)
        )
    return rows


def _skill_row(name: str, level: int, needs: int, marks: SkillAccuracy | None) -> SkillRow:
    before, after = (marks.before, marks.after) if marks else (None, None)
    change = None if before is None or after is None else 100 * (after - before)
    return SkillRow(name, level, needs, before, after, change, marks.n if marks else 0)


def run_facts(summary: Summary, config: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Headed lists of (name, value); what the configuration does not say is left out."""
    run = [("name", _at(config, "run.name")), ("seed", summary.seed), ("state", summary.state),
           ("restarts", summary.restarts), ("wall time", words.duration(sum(summary.wall_s.values())))]  # fmt: skip
    teacher = [
        ("model", _at(config, "teacher.model")),
        ("engine", _at(config, "teacher.kind")),
        ("replicas", _at(config, "generate.replicas")),
        ("in flight each", _at(config, "generate.in_flight")),
        ("replaced for garbage", summary.generate.replaced or None),
    ]
    student = [("model", _at(config, "student.model")), ("ranks", _at(config, "train.ranks")),
               ("ZeRO stage", _at(config, "train.zero_stage")), ("precision", _at(config, "train.precision")),
               ("steps", f"{summary.train.steps:,}"), ("tokens", f"{summary.train.tokens:,}"),
               ("visits each, p50", words.number(summary.visits.p50)),
               ("visits each, p95", words.number(summary.visits.p95)),
               ("first visits", words.percent(summary.visits.first_share))]  # fmt: skip
    lists = {"Run": run, "Teacher": teacher, "Student": student,
             "Decisions": [(name.replace("_", " "), f"{count:,}") for name, count in summary.decisions.items()],
             "Ladders": [(name.replace("_", " "), f"{count:,}") for name, count in summary.ladders.items() if count],
             "Versions": list(summary.versions.items())}  # fmt: skip
    return {head: shown for head, pairs in lists.items()
            if (shown := [(name, str(value)) for name, value in pairs if value is not None])}  # fmt: skip


def phase_bars(summary: Summary) -> Markup | None:
    """Wall time per phase as bars, in the order of the run."""
    if not summary.wall_s:
        return None
    return frame.bars([(phase, seconds, "k-phase") for phase, seconds in summary.wall_s.items()], 556, "seconds")


def _at(config: Mapping[str, Any], key: str) -> Any:
    section, name = key.split(".")
    return config.get(section, {}).get(name)
