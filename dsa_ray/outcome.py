"""What a run leaves for machines and for people: summary.json, the tables, report.html. Works however far it came."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dsa_ray.config import Config
from dsa_ray.curriculum.planner import EXERCISES
from dsa_ray.evaluation.exam import Question, grade, score
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.report import html, summary
from dsa_ray.report.closing import final_lines
from dsa_ray.skills.start import GRAPH, elementary_in, graph_of
from dsa_ray.storage.checkpoints import adopt_student
from dsa_ray.storage.export import write_tables
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.quarantine import standing_verdicts
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.versions import versions
from dsa_ray.training.model_card import CARD, CardFacts, license_of, model_card

EXAM = "exam.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """All that is known when a run ends."""

    state: str
    """`finished`, `interrupted` or `failed`."""
    config: Config
    folder: RunFolder
    facts: Mapping[str, Any]
    """`Curator.facts` with `metrics` and `status`; empty when the curator could not be asked."""
    replicas: Sequence[Mapping[str, Any]]
    """Figures of the teacher's replicas."""
    questions: Sequence[Question]
    answers: Mapping[str, Sequence[str]]
    """`before` and `after`, as far as the exam was sat."""
    wall_s: Mapping[str, float]


class PhaseClock:
    """Seconds of wall time per phase, in the order in which the phases came."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._phase: str | None = None
        self._since = time.monotonic()

    def enter(self, phase: str) -> None:
        """The run is in this phase from now on; saying it again changes nothing."""
        now = time.monotonic()
        if self._phase is not None:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def seconds(self) -> dict[str, float]:
        if self._phase is not None:
            self.enter(self._phase)
        return {phase: round(seconds, 2) for phase, seconds in self._seconds.items()}


def conclude(ending: Ending) -> list[str]:
    """Write everything; returns the lines for the terminal."""
    folder, facts = ending.folder, ending.facts
    graph = json.loads(folder.read_text(GRAPH)) if folder.exists(GRAPH) else {}
    exams = _exams(ending)
    made = summary.build(
        run={
            "state": ending.state,
            "seed": ending.config.run.seed,
            "restarts": max(0, facts.get("status", {}).get("attempt", 0) - 1),
            "wall_s": dict(ending.wall_s),
            "versions": versions(),
        },
        graph=graph,
        exams=exams,
        curator=_curator_figures(facts),
        train=_train_figures(facts, folder),
        generate=_generate_figures(ending),
    )
    summary.write(made, folder)
    write_tables(folder, facts.get("exercises", {}))
    _write_card(made, graph, ending)
    html.write(_report(made, graph, ending), folder)
    return final_lines(made, folder.path)


def _write_card(made: summary.Summary, graph: Mapping[str, Any], ending: Ending) -> None:
    """The student of a run that ended early is that of its latest checkpoint; its card tells what was reached."""
    adopted = adopt_student(ending.folder.path)
    if not Folder(ending.folder.student).names():
        return
    marks = {"before": made.accuracy.before, "after": None if adopted else made.accuracy.after}
    facts = CardFacts(
        step=int(adopted.removeprefix("step-")) if adopted else made.train.steps,
        skills=made.skills,
        prerequisites=len(graph.get("edges", ())),
        textbooks=made.textbooks,
        exercises=made.exercises.written,
        tokens=None if adopted else made.train.tokens,
        accuracy={when: mark.value for when, mark in marks.items() if mark},
        base_license=license_of(ending.config.student.model),
    )
    # A checkpoint holds the adapter alone, a finished run the whole model and the adapter beside it.
    whole = replace(facts, merged=ending.config.train.lora_rank > 0 and not adopted)
    ending.folder.write_text(f"student/{CARD}", model_card(ending.config, whole))
    if whole.merged:
        ending.folder.write_text(f"student/adapter/{CARD}", model_card(ending.config, facts))


def _exams(ending: Ending) -> dict[str, Any]:
    """Marks of the sittings; every answer is kept in exam.json, right or wrong."""
    elementary = elementary_in(ending.config.graph, graph_of(ending.folder))
    rows: dict[str, list[dict[str, Any]]] = {}
    exams: dict[str, Any] = {}
    if not ending.answers:
        return exams
    with AnswerChecker(ending.config.evaluate.answer_timeout_s) as checker:
        for when, texts in ending.answers.items():
            marks = grade(ending.questions, texts, checker)
            exams[when] = score(ending.questions, marks, elementary).as_dict()
            rows[when] = [
                {"skill": q.skill, "question": q.question, "expected": q.answer, "given": text, "right": right}
                for q, text, right in zip(ending.questions, texts, marks, strict=True)
            ]
    ending.folder.write_text(EXAM, json.dumps(rows, indent=1))
    return exams


def _curator_figures(facts: Mapping[str, Any]) -> dict[str, Any]:
    if not facts:
        return {}
    exercises = facts["exercises"].values()
    return {
        "textbooks": facts["items_written"].get("textbook", 0),
        "written": len(facts["exercises"]),
        "rejected": facts["rejected"],
        "truncated": facts.get("truncated", 0),
        "verdicts": facts["verdicts"],
        "decisions": facts["decisions"],
        "ladders": facts.get("ladders", {}),
        "mixture": facts.get("mixture", {}),
        "refused": facts["refused"],
        "children": facts["children"],
        "visits": [exercise["visits"] for exercise in exercises],
        "lag": _lag(facts),
    }


def _lag(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"kind": kind, "lag_steps": steps, "lag_s": seconds} for _, kind, steps, seconds in facts["lags"]]


def _train_figures(facts: Mapping[str, Any], folder: RunFolder) -> dict[str, Any]:
    totals = facts.get("metrics", {})
    tuning = totals.get(EXERCISES, {})
    return {
        "steps": sum(phase["steps"] for phase in totals.values()),
        "tokens": sum(phase["tokens"] for phase in totals.values()),
        "seconds": sum(phase["step_s"] + phase["wait_s"] for phase in totals.values()),
        "idle_ratio": tuning.get("idle_ratio"),
        "blocked_s": [saved["blocked_s"] for saved in facts.get("checkpoints", ())],
        "losses": [row["loss"] for row in folder.read_metrics() if row.get("phase") == EXERCISES and row.get("loss")],
    }


def _generate_figures(ending: Ending) -> dict[str, Any]:
    replicas = ending.replicas
    if not replicas:
        return {}
    busy = sum(ending.wall_s.get(phase, 0.0) for phase in ("graph", "writing", "textbooks", "exercises"))
    return {
        "tokens": sum(stats["output_tokens"] for stats in replicas),
        "seconds": busy,
        "idle_ratio": sum(stats["idle_ratio"] for stats in replicas) / len(replicas),
        "replaced": sum(ending.facts.get("replaced", {}).values()),
    }


def _report(made: summary.Summary, graph: Mapping[str, Any], ending: Ending) -> html.ReportData:
    levels = ending.facts.get("levels", {})
    names = {"L_average": "average_loss", "L_b": "planted_loss", "sigma_average": "average_spread"}
    names |= {"sigma_b": "planted_spread"}
    return html.ReportData(
        summary=made,
        graph=graph,
        config=ending.config.model_dump(mode="json"),
        metrics=ending.folder.read_metrics(),
        verdicts=standing_verdicts(ending.folder.journal),
        baselines={name: levels.get(key) for name, key in names.items()},
        lag=_lag(ending.facts) if ending.facts else (),
        coverage=ending.facts.get("coverage", ()),
    )
