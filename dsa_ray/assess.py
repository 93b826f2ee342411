"""`dsa eval`: the exam of a run, tasks of lm-evaluation-harness and of our own, on a run's students or on any model.

A run is assessed before (the base student) and after (its trained one); what comes out goes into its summary.json.
Without Ray: one vLLM engine in this process, which takes up the second model's weights in place.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsa_ray.actors.replica import Replica, student_teacher
from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.embedded import shipped
from dsa_ray.embedded.exam import exam_of, on_graph
from dsa_ray.engines.base import build
from dsa_ray.evaluation import operations
from dsa_ray.evaluation.exam import ExamScore, Question, grade, score
from dsa_ray.evaluation.harness import ACCURACY, Scores, TaskScore, check_harness, load_task, run_tasks
from dsa_ray.evaluation.leakage import leakage
from dsa_ray.generation.answers import AnswerChecker
from dsa_ray.generation.prompts import student_messages
from dsa_ray.generation.tokens import StudentTokenizer
from dsa_ray.machine import this_machine
from dsa_ray.preflight import looks_like_path
from dsa_ray.report import summary
from dsa_ray.skills.start import elementary_in, graph_of
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.run_folder import CONFIG, RunFolder
from dsa_ray.training.answer_loss import answer_losses

BEFORE, AFTER, MODEL = "before", "after", "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to assess, as the command line says it."""

    target: str
    """A run's folder or URI, a model's folder, or a Hugging Face name."""
    tasks: tuple[str, ...] = ()
    limit: int | None = None
    """No more examples per task than these."""
    exam: str | None = None
    """`embedded` or a file; by default that of the run."""
    sit_exam: bool = True
    leakage: tuple[str, str] | None = None
    """Files of a benchmark's training and test questions, whose losses are compared (GLAN)."""

    @property
    def harness_tasks(self) -> tuple[str, ...]:
        """Tasks that lm-evaluation-harness runs."""
        return tuple(task for task in self.tasks if task != operations.NAME)


@dataclass(slots=True)
class Assessment:
    """Scores by `before` and `after` (a run) or `model`."""

    exams: dict[str, ExamScore] = field(default_factory=dict)
    tasks: dict[str, Scores] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str, dict[str, TaskScore]]]:
        """(task, metric, scores by when), the exam first."""
        taught = {when: TaskScore(value=s.taught.accuracy, stderr=None, n=s.taught.n) for when, s in self.exams.items()}
        rows = [("exam", "accuracy", taught)] if taught else []
        names = {(task, metric): None for found in self.tasks.values() for task in found for metric in found[task]}
        for task, metric in names:
            marks = {when: found[task][metric] for when, found in self.tasks.items() if metric in found.get(task, {})}
            rows.append((task, metric, marks))
        return rows


def assess(request: Request) -> Assessment:
    """Carry it out; a run's summary.json is updated.

    Raises:
        ConfigError: what is named is not there, or cannot be used.
    """
    run = _run(request.target)
    if request.harness_tasks:
        check_harness()
    sets = [load_task(path) for path in request.leakage or ()]
    config = run.config if run else _model_config(request.target)
    models = _students(run) if run else {MODEL: shipped.resolve(request.target)}
    result = Assessment()
    with AnswerChecker(config.evaluate.answer_timeout_s) as checker:
        _ask(request, result, (config, models, run), checker)
        for when, path in models.items() if request.harness_tasks else ():
            limits = {"max_tokens": config.evaluate.max_tokens, "limit": request.limit}
            found = run_tasks(path, request.harness_tasks, checker, gpus=this_machine().gpus, **limits)
            result.tasks.setdefault(when, {}).update(found)
    for when, path in models.items() if sets and request.leakage else ():
        name = f"leakage-{Path(request.leakage[1]).stem}"
        found = leakage(*(_losses(path, rows[: request.limit]) for rows in sets))
        result.tasks.setdefault(when, {})[name] = found
    if run:
        _write(run, result)
    return result


def _ask(
    request: Request, result: Assessment, of: tuple[Config, Mapping[str, str], RunFolder | None], checker: AnswerChecker
) -> None:
    """The exam and the arithmetic of new operations: one engine answers both."""
    config, models, run = of
    questions = _questions(config, request.exam, run) if request.sit_exam else []
    new = operations.operations()[: request.limit] if operations.NAME in request.tasks else []
    if not questions and not new:
        return
    elementary = elementary_in(config.graph, graph_of(run) if run else None)
    asked = [*questions, *new]
    for when, answers in asyncio.run(_answers(config, models, asked)).items():
        right = grade(asked, answers, checker)
        if questions:
            result.exams[when] = score(questions, right[: len(questions)], elementary)
        if new:
            mark = _share(right[len(questions) :])
            result.tasks.setdefault(when, {})[operations.NAME] = {ACCURACY: mark}


def _share(right: Sequence[bool]) -> TaskScore:
    share = sum(right) / len(right)
    return TaskScore(value=share, stderr=math.sqrt(share * (1 - share) / len(right)), n=len(right))


def _losses(model: str, rows: Sequence[Mapping[str, str]]) -> list[float]:
    """The model's loss on the answer of each question, as it would be asked in the exam."""
    tokenizer = StudentTokenizer(model)
    chats = [[*student_messages(row["question"]), {"role": "assistant", "content": row["answer"]}] for row in rows]
    device = "cuda" if this_machine().gpus else "cpu"
    return answer_losses(model, [tokenizer.encode_dialogue(chat) for chat in chats], device)


def lines(result: Assessment) -> list[str]:
    """A table for people."""
    shown = ["task                      metric               n    before     after"]
    for task, metric, marks in result.rows():
        before, after = marks.get(BEFORE), marks.get(AFTER) or marks.get(MODEL)
        count = next(iter(marks.values())).n
        shown.append(f"{task[:24]:<25} {metric[:16]:<16} {count:>5} {_figure(before):>9} {_figure(after):>9}")
    return shown


def _figure(mark: TaskScore | None) -> str:
    return "-" if mark is None else f"{mark.value:.4f}"


def _run(target: str) -> RunFolder | None:
    """The run that is meant, if it is one; a folder with both is a run's."""
    looks = "://" in target or looks_like_path(target)
    folder = Folder(target) if looks else None
    if folder is not None and folder.exists(CONFIG) and folder.exists("journal/format.json"):
        return RunFolder.open(target)
    if looks and folder is not None and not folder.exists(CONFIG):
        raise ConfigError(f"{target}: neither a run nor a model (no {CONFIG})")
    return None


def _model_config(model: str) -> Config:
    return parse({"run": {"name": "eval"}, "graph": {"target": "evaluation"}, "student": {"model": model}})


def _students(run: RunFolder) -> dict[str, str]:
    """The base student and the trained one, as folders."""
    students = {BEFORE: shipped.resolve(run.config.student.model)}
    if "://" in run.path:
        raise ConfigError(f"{run.path}: copy its student/ to this machine and evaluate that folder")
    if Folder(run.student).exists(CONFIG):
        students[AFTER] = run.student
    return students


def _questions(config: Config, exam: str | None, run: RunFolder | None) -> list[Question]:
    """Those of the built-in exam that are not on the run's skills are left out."""
    questions = exam_of(config, exam)
    graph = graph_of(run) if run else None
    if graph is None:
        return questions
    return on_graph(questions, graph, others=(exam or config.evaluate.exam) != "embedded")


async def _answers(config: Config, models: Mapping[str, str], questions: Sequence[Question]) -> dict[str, list[str]]:
    """What each model writes to the questions, greedily; the engine starts once and reloads its weights."""
    machine = this_machine()
    gpus = 1.0 if machine.gpus else 0.0
    serving = config.model_copy(update={"teacher": student_teacher(config)})
    first, *_ = models.values()
    threads = max(1, int(machine.cpus))
    engine = build(serving.teacher, first, gpus, concurrency=config.generate.in_flight, threads=threads)
    replica = Replica("student", serving, engine)
    messages = [student_messages(question.question) for question in questions]
    answers = {}
    try:
        await replica.start()
        for when, path in models.items():
            if path != first:
                await replica.load_weights(path, when)
            answers[when] = await replica.ask(messages, config.evaluate.max_tokens, 0.0)
    finally:
        await replica.stop()
    return answers


def _write(run: RunFolder, result: Assessment) -> None:
    """Into summary.json, as `tasks` beside `accuracy`; a run that has not ended has none yet."""
    if not run.exists(summary.FILE):
        return
    tasks: dict[str, Any] = {}
    for task, metric, marks in result.rows():
        tasks.setdefault(task, {})[metric] = {when: mark.as_dict() for when, mark in marks.items()}
    made = summary.read(run)
    plain = made.model_dump()
    summary.write(summary.Summary.model_validate({**plain, "tasks": {**plain["tasks"], **tasks}}), run)
