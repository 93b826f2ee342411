import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dsa_ray.report import summary as summaries
from dsa_ray.report.closing import final_lines
from dsa_ray.report.summary import SummaryError, build, read, write
from tests.report import synthetic


class Folder:
    """A run folder in memory."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def write_text(self, name: str, text: str) -> None:
        self.files[name] = text

    def read_text(self, name: str) -> str:
        return self.files[name]


def test_a_summary_carries_every_promised_key() -> None:
    data = json.loads(summaries.to_json(synthetic.summary()))
    assert set(data) == {
        "state", "seed", "accuracy", "tasks", "skills", "textbooks", "exercises", "verdicts", "decisions", "ladders",
        "mixture", "refused", "children", "visits", "train", "generate", "feedback_lag_steps", "feedback_lag_s",
        "restarts", "wall_s", "versions",
    }  # fmt: skip
    assert set(data["accuracy"]) == {"before", "after", "elementary", "per_skill"}
    assert set(data["accuracy"]["after"]) == {"value", "low", "high", "n"}
    assert data["accuracy"]["per_skill"]["s2"] == {
        "name": "Chain rule",
        "level": 2,
        "before": 0.2,
        "after": 0.7,
        "n": 10,
    }
    assert data["exercises"] == {"written": 120, "rejected": {"schema": 7, "duplicate": 2}, "truncated": 0}
    assert data["children"]["harder"] == {"written": 0, "trained": 0}


def test_percentiles_shares_and_rates_are_computed_from_the_raw_numbers() -> None:
    made = synthetic.summary()
    assert made.visits.p50 == 3.0
    assert made.visits.first_share == 4 / 13
    assert made.feedback_lag_steps.p50 == 20.0
    assert made.train.tokens_per_s == 1200.0
    assert (made.train.loss_first, made.train.loss_last) == (2.0, 1.0)


def test_what_was_not_measured_is_null_and_not_zero() -> None:
    made = build(run={"state": "interrupted", "seed": 0}, graph={})
    assert made.accuracy.before is None
    assert made.train.tokens_per_s is None
    assert made.feedback_lag_steps.p50 is None
    assert made.visits.first_share is None


def test_a_group_without_questions_has_no_accuracy() -> None:
    skills = synthetic.graph("Adding")
    exam = {"taught": synthetic.mark(1, 2), "elementary": {"n": 0, "accuracy": 0.0, "low": 0.0, "high": 1.0}}
    made = build(run=synthetic.run_facts(), graph=skills, exams={"before": None, "after": exam})
    assert made.accuracy.elementary.after is None
    assert made.accuracy.after is not None
    assert made.accuracy.after.n == 2


def test_an_examined_skill_outside_the_graph_is_kept() -> None:
    exam = {"per_skill": {"counting": synthetic.mark(3, 4)}}
    made = build(run=synthetic.run_facts(), graph=synthetic.graph("Adding"), exams={"before": exam})
    assert made.accuracy.per_skill["counting"].before == 0.75


def test_a_summary_survives_writing_and_reading() -> None:
    folder, made = Folder(), synthetic.summary()
    write(made, folder)
    assert read(folder) == made


def test_a_loss_that_is_not_a_number_becomes_null() -> None:
    made = build(run=synthetic.run_facts("failed"), graph={}, train={"losses": [1.0, math.nan]})
    assert made.train.loss_last is None
    assert json.loads(summaries.to_json(made))["train"]["loss_last"] is None


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(ValidationError):
        build(run={"state": "done", "seed": 0}, graph={})


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "finished"}'])
def test_a_broken_summary_is_named_in_one_line(content: str) -> None:
    folder = Folder()
    folder.write_text("summary.json", content)
    with pytest.raises(SummaryError, match=r"^summary\.json: [^\n]*$"):
        read(folder)


@given(st.lists(st.integers(0, 10)))
def test_the_share_of_first_visits_is_a_share(visits: list[int]) -> None:
    share = build(run=synthetic.run_facts(), graph={}, curator={"visits": visits}).visits.first_share
    assert share is None or 0 < share <= 1


def test_the_last_lines_say_what_matters_within_80_columns() -> None:
    lines = final_lines(synthetic.summary(), "runs/calculus")
    text = "\n".join(lines)
    assert "20.0 % [10.5, 34.8] -> 75.0 % [59.8, 85.8]" in text
    assert "schema 7, duplicate 2" in " ".join(text.split())
    assert "variant 8/10" in text
    assert "runs/calculus/report.html" in text
    assert all(len(line) <= 80 for line in lines)
    assert 9 <= len(lines) <= 14


def test_the_last_lines_of_an_interrupted_run_promise_no_student() -> None:
    lines = final_lines(build(run={"state": "interrupted", "seed": 0}, graph={}), "s3://bucket/run/")
    text = "\n".join(lines)
    assert "not measured" in text
    assert "student/" not in text
    assert "s3://bucket/run/report.html" in text
