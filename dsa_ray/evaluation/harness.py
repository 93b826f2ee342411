"""Tasks of lm-evaluation-harness on a model, and tasks made of local files; the package is imported only here.

A JSONL file of `question` and `answer` becomes a task: the question is put as in the exam, and an answer counts when
its final answer is mathematically the expected one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dsa_ray.config import ConfigError
from dsa_ray.evaluation.exam import Checker, ExamError
from dsa_ray.generation.answers import final_answer
from dsa_ray.generation.prompts import student_messages
from dsa_ray.generation.tokens import load_tokenizer, with_chat_template

ACCURACY = "accuracy"
"""The metric of a task made of a local file."""
HARNESS = "lm_eval"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """One metric of one task on one model."""

    value: float
    stderr: float | None
    n: int
    """Examples that were scored."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Scores = dict[str, dict[str, TaskScore]]
"""Task to metric to score."""


def check_harness() -> None:
    """Raises `ConfigError` when lm-evaluation-harness is not installed."""
    if find_spec(HARNESS) is None:
        raise ConfigError("--tasks: lm-evaluation-harness is not installed; pip install lm_eval, or leave --tasks out")


def load_task(path: str | Path) -> list[dict[str, str]]:
    """The rows of a JSONL file with `question` and `answer` per line; other keys and blank lines are left out.

    Raises:
        ExamError: unreadable, not JSON, a key missing or empty, or no row at all; one line that says where.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ExamError(f"{path}: cannot be read ({error})") from None
    rows = [_row(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise ExamError(f"{path}: holds no question")
    return rows


def run_tasks(
    model: str,
    tasks: Sequence[str],
    checker: Checker,
    *,
    max_tokens: int,
    limit: int | None = None,
    gpus: int = 0,
) -> Scores:
    """Run tasks on a model through transformers (with GPUs: through vLLM).

    Args:
        model: folder or Hugging Face name.
        tasks: names that the harness knows, or paths that end in `.jsonl`.
        checker: compares final answers of local tasks.
        max_tokens: longest answer in local tasks.
        limit: no more examples than these per task.
        gpus: of this machine.

    Raises:
        ConfigError: the harness is not installed or does not know a task.
        ExamError: a local file cannot be used.
    """
    check_harness()
    local = {Path(task).stem: load_task(task) for task in tasks if task.endswith(".jsonl")}
    named = [task for task in tasks if not task.endswith(".jsonl")]
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    if unknown := [task for task in named if task not in manager.all_tasks]:
        raise ConfigError(f"--tasks: lm-evaluation-harness knows no {', '.join(unknown)}; see `lm_eval ls tasks`")
    own = [local_task(name, rows, checker, max_tokens) for name, rows in local.items()]
    backend, settings = _backend(model, gpus)
    with tempfile.TemporaryDirectory(prefix="dsa-tokenizer-") as folder:
        results = lm_eval.simple_evaluate(
            model=backend,
            model_args={**settings, **tokenizer_settings(model, folder)},
            tasks=[*named, *own],
            limit=limit,
            batch_size="auto" if gpus else 8,
            device=None if gpus else "cpu",
            apply_chat_template=True,
            bootstrap_iters=0,
            log_samples=False,
            task_manager=manager,
        )
    return scores(results or {})


def scores(results: Mapping[str, Any]) -> Scores:
    """What the harness found, without its filter names: the first filter of a metric counts."""
    counts = results.get("n-samples", {})
    found: Scores = {}
    for task, metrics in results.get("results", {}).items():
        n = int(counts.get(task, {}).get("effective", 0))
        for key, value in metrics.items():
            name, _, kind = key.partition(",")
            if isinstance(value, int | float) and kind and not name.endswith("_stderr"):
                stderr = metrics.get(f"{name}_stderr,{kind}")
                error = float(stderr) if isinstance(stderr, int | float) else None
                found.setdefault(task, {}).setdefault(name, TaskScore(value=float(value), stderr=error, n=n))
    return found


def local_task(name: str, rows: Sequence[Mapping[str, str]], checker: Checker, max_tokens: int) -> dict[str, Any]:
    """A task in the harness's own form. Its texts are given by functions, so that no question is read as a template."""

    def dataset(**_: Any) -> Any:
        from datasets import Dataset, DatasetDict

        return DatasetDict({"test": Dataset.from_list([dict(row) for row in rows])})

    def graded(doc: Mapping[str, str], answers: Sequence[str]) -> dict[str, float]:
        final = final_answer(answers[0])
        return {ACCURACY: float(final is not None and checker.same_many([(final, doc["answer"])])[0])}

    return {
        "task": name,
        "custom_dataset": dataset,
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": lambda doc: student_messages(doc["question"])[0]["content"],
        "doc_to_target": lambda doc: doc["answer"],
        "process_results": graded,
        "generation_kwargs": {"until": [], "max_gen_toks": max_tokens, "do_sample": False},
        "metric_list": [{"metric": ACCURACY, "aggregation": "mean", "higher_is_better": True}],
    }


def _backend(model: str, gpus: int) -> tuple[str, dict[str, Any]]:
    if gpus:
        return "vllm", {"pretrained": model, "gpu_memory_utilization": 0.8}
    return "hf", {"pretrained": model, "dtype": "auto"}


def tokenizer_settings(model: str, folder: str) -> dict[str, str]:
    """The tokenizer for a model that has no chat template: its own with the default one, written into `folder`."""
    tokenizer = load_tokenizer(model)
    if tokenizer.chat_template:
        return {}
    with_chat_template(tokenizer).save_pretrained(folder)
    return {"tokenizer": folder}


def _row(line: str, where: str) -> dict[str, str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ExamError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ExamError(f"{where}: must be an object with question and answer")
    for key in ("question", "answer"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise ExamError(f"{where}: {key!r} must be a text that is not empty")
    return {"question": row["question"], "answer": row["answer"]}
