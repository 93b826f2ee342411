import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from dsa_ray.config import ConfigError
from dsa_ray.evaluation.exam import ExamError
from dsa_ray.evaluation.harness import (
    TaskScore,
    check_harness,
    load_task,
    local_task,
    run_tasks,
    scores,
    tokenizer_settings,
)
from tests.engines.tiny_model import tiny_llama


class Same:
    """Compares final answers as texts."""

    def same_many(self, pairs: Iterable[tuple[str, str]]) -> list[bool]:
        return [left == right for left, right in pairs]


def a_file(folder: Path, *rows: object) -> Path:
    path = folder / "sums.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_a_file_of_questions_becomes_rows(tmp_path: Path) -> None:
    path = a_file(
        tmp_path, {"question": "2+2?", "answer": "4", "skill": "sums"}, "", {"question": "1+1?", "answer": "2"}
    )
    assert load_task(path) == [{"question": "2+2?", "answer": "4"}, {"question": "1+1?", "answer": "2"}]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "holds no question"),
        (["{"], r"sums\.jsonl:1: not JSON"),
        ([{"question": "a", "answer": "b"}, "[1]"], r"sums\.jsonl:2: must be an object"),
        ([{"question": "a"}], "'answer' must be a text"),
        ([{"question": " ", "answer": "b"}], "'question' must be a text"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(tmp_path: Path, rows: list, words: str) -> None:
    with pytest.raises(ExamError, match=words):
        load_task(a_file(tmp_path, *rows))


def test_a_local_task_puts_the_question_as_the_exam_does_and_grades_final_answers() -> None:
    task = local_task("sums", [{"question": "{{ 7*7 }}?", "answer": "4"}], Same(), 32)
    doc = {"question": "{{ 7*7 }}?", "answer": "4"}
    assert task["doc_to_text"](doc).startswith("{{ 7*7 }}?\nShow the steps")
    assert task["process_results"](doc, ["2 + 2\nAnswer: 4"]) == {"accuracy": 1.0}
    assert task["process_results"](doc, ["Answer: 5"]) == {"accuracy": 0.0}
    assert task["process_results"](doc, ["I do not know"]) == {"accuracy": 0.0}


def test_scores_lose_the_filters_names() -> None:
    results = {
        "results": {
            "gsm8k": {
                "alias": "gsm8k",
                "exact_match,strict-match": 0.25,
                "exact_match_stderr,strict-match": 0.05,
                "exact_match,flexible-extract": 0.5,
                "exact_match_stderr,flexible-extract": "N/A",
            }
        },
        "n-samples": {"gsm8k": {"original": 1319, "effective": 80}},
    }
    assert scores(results) == {"gsm8k": {"exact_match": TaskScore(value=0.25, stderr=0.05, n=80)}}
    assert scores({}) == {}


def test_without_the_harness_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsa_ray.evaluation.harness.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^--tasks: .*pip install lm_eval"):
        check_harness()


def test_a_model_without_a_chat_template_is_asked_by_the_default_one(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "model")
    assert tokenizer_settings(model, str(tmp_path / "own")) == {}
    (tmp_path / "model" / "chat_template.jinja").unlink()
    settings = tokenizer_settings(model, str(tmp_path / "own"))
    chat = AutoTokenizer.from_pretrained(settings["tokenizer"]).apply_chat_template(
        [{"role": "user", "content": "Why?"}], tokenize=False
    )
    assert chat == "<s>Why?\n"


def test_the_harness_really_runs_a_local_task(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    from dsa_ray.embedded import shipped

    rows = [{"question": f"Add {n} and {n + 3}.", "answer": str(2 * n + 3)} for n in range(3, 9)]
    path = a_file(tmp_path, *rows)
    found = run_tasks(shipped.resolve("embedded:student"), [str(path)], Same(), max_tokens=40, limit=4)
    assert found["sums"]["accuracy"].n == 4
    assert 0.0 <= found["sums"]["accuracy"].value <= 1.0
    with pytest.raises(ConfigError, match="knows no such_a_task"):
        run_tasks("nowhere", ["such_a_task"], Same(), max_tokens=4)
