from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.generation.checks import REASONS as CHECKED
from dsa_ray.records import CHILD_KINDS, Action, VerdictClass
from dsa_ray.report.metrics import BY_NAME, LEVELS, METRICS, REASONS, samples

STATUS: dict[str, Any] = {
    "phase": "exercises", "step": 40, "steps": 60, "skills": 24, "replaced": 1, "textbooks": 17, "textbooks_wanted": 17,
    "written": 412, "rejected": 13, "rejections": {"duplicate": 10, "mine": 2, "yours": 1},
    "queue_depth": 7, "outstanding": 64,
    "backlog": [3, 0], "oldest_request_s": 1.5, "unvisited": 30, "open_rows": 16,
    "verdicts": {VerdictClass.EASY: 3}, "decisions": {"keep": 3}, "children": {"variant": {"written": 4, "trained": 2}},
    "ladders": {"wanted": 5, "over": 4, "samples": 9, "accepted": 7},
    "mastery": {0: 1.0, 3: 0.5, LEVELS: 0.2, LEVELS + 1: 0.4}, "attempt": 2, "spent": {"money": 0.0},
    "generated": {"prompts": 9, "answers": 5, "accepted": 4},
    "feedback_lag_steps": {"p50": 80.0, "p95": 120.0}, "feedback_lag_s": {"p50": 30.0, "p95": 45.0},
    "train": {"loss": 1.25, "lr": 1e-4, "grad_norm": 2.0, "tokens_per_s": 2000.0, "idle_ratio": 0.01, "step_s": 0.4},
    "checkpoint": {"step": 20}, "no_progress_s": 0.5, "stall_s": 180.0,
}  # fmt: skip
REPLICA = {
    "name": "teacher-0", "ready": True, "tokens_per_s": 700.0, "idle_ratio": 0.1, "in_flight": 8, "errors": 0,
    "last_progress_s": 0.1,
}  # fmt: skip


def values(status: dict[str, Any] = STATUS, replicas: tuple[dict[str, Any], ...] = (REPLICA,)) -> dict[Any, float]:
    return {(sample.name, sample.labels): sample.value for sample in samples(status, replicas, now=1000.0)}


def test_every_metric_of_the_table_has_a_sample_once_a_run_is_under_way() -> None:
    full = {**STATUS, "train": {**STATUS["train"], "mfu": 0.4}}
    assert {name for name, _ in values(full)} == set(BY_NAME)


def test_a_sample_has_the_labels_that_the_table_says() -> None:
    for name, labels in values():
        assert {label for label, _ in labels} == set(BY_NAME[name].labels)


def test_a_figure_that_is_not_known_yet_is_left_out() -> None:
    young = values({"phase": "graph", "attempt": 0}, ())
    assert young[("dsa_phase", (("phase", "graph"),))] == 1.0
    assert young[("dsa_generate_replicas", ())] == 0
    assert ("dsa_train_loss", ()) not in young


def test_reasons_that_the_table_does_not_know_share_one_series() -> None:
    assert values()[("dsa_rejections", (("reason", "other"),))] == 3


def test_levels_beyond_the_bound_share_one_series() -> None:
    found = {labels[0][1]: value for (name, labels), value in values().items() if name == "dsa_mastery_ratio"}
    assert found.keys() == {"0", "3", f"{LEVELS}+"}
    assert abs(found[f"{LEVELS}+"] - 0.3) < 1e-9


@given(
    st.dictionaries(st.text(max_size=8), st.integers(0, 9), max_size=60),
    st.dictionaries(st.integers(0, 500), st.just(0.5)),
)
def test_the_number_of_series_is_bounded_whatever_a_run_comes_to(
    reasons: dict[str, int], levels: dict[int, float]
) -> None:
    found = values({**STATUS, "rejections": reasons, "mastery": levels})
    assert sum(name == "dsa_rejections" for name, _ in found) <= len(REASONS)
    assert sum(name == "dsa_mastery_ratio" for name, _ in found) <= LEVELS + 1


def test_the_table_knows_every_reason_class_and_action_of_the_system() -> None:
    assert set(CHECKED) <= set(REASONS)
    assert BY_NAME["dsa_verdicts"].labels["verdict"].split(", ") == [each.value for each in VerdictClass]
    assert BY_NAME["dsa_decisions"].labels["decision"].split(", ") == [each.value for each in Action]
    assert set(BY_NAME["dsa_children"].labels["kind"].split(", ")) == {kind.value for kind in CHILD_KINDS}


def test_every_metric_explains_itself_in_a_sentence() -> None:
    assert all(metric.help.endswith(".") and len(metric.help) > 10 for metric in METRICS)
    assert len(BY_NAME) == len(METRICS)
