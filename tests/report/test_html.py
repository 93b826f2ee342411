import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dsa_ray.report import html
from dsa_ray.report.html import ReportData, render
from dsa_ray.report.summary import build
from tests.report import synthetic

VOID = {"meta", "br", "link", "input", "img", "hr"}


class Page(HTMLParser):
    """Collects tags and attributes and checks that every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend((name, value or "") for name, value in attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def report(name: str = "Chain rule", **changes: object) -> ReportData:
    skills = synthetic.graph("Adding", "Powers", name)
    total = build(run=synthetic.run_facts(), graph=skills, exams=synthetic.exams(skills), curator=synthetic.curator())
    rows = [{"step": at, "phase": "textbooks" if at < 5 else "exercises", "loss": 3.0 / at, "lr": 1e-4,
             "tokens_per_s": 900.0, "idle_ratio": 0.0} for at in range(1, 12)]  # fmt: skip
    verdicts = [
        {"step": 9, "exercise": at, "verdict": synthetic.CLASSES[at % 4], "mean_loss": at / 9, "loss_spread": 0.1}
        for at in range(9)
    ]
    data = ReportData(
        summary=total,
        graph=skills,
        metrics=rows,
        verdicts=verdicts,
        baselines={"L_average": 0.2, "L_b": 0.7},
        lag=synthetic.curator()["lag"],
        config={"run": {"name": "r"}},
    )
    return replace(data, **changes)


def test_a_full_page_is_well_formed_and_shows_every_chart() -> None:
    page = Page(render(report()))
    assert page.tags.count("svg") == 10
    text = " ".join(page.text)
    for words in ("Chain rule", "20 %", "75 %", "finished", "ray", "2.60.0", "level 2", "schema"):
        assert words in text


def test_a_large_page_stays_small_enough_to_mail() -> None:
    assert len(render(synthetic.large())) < 2_000_000


@pytest.mark.parametrize("state", ["interrupted", "failed", "finished"])
def test_a_run_without_any_data_gets_a_page_that_says_so(state: str) -> None:
    text = " ".join(Page(render(ReportData(summary=build(run={"state": state, "seed": 0}, graph={})))).text)
    for words in (state, "No step was trained.", "before there was a graph", "Nothing was written.", "not measured"):
        assert words in text


def test_a_run_interrupted_before_training_still_shows_its_graph() -> None:
    skills = synthetic.graph("Adding", "Powers")
    total = build(run={"state": "interrupted", "seed": 0}, graph=skills)
    text = " ".join(Page(render(ReportData(summary=total, graph=skills))).text)
    assert "Powers" in text
    assert "No exam was sat before the run ended." in text


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", '" onload="alert(1)', "' onmouseover='alert(1)", "</svg><img src=x onerror=alert(1)>",
     "</style><script>alert(1)</script>", "&lt;b&gt;", "{{ 7*7 }}", "{% raw %}", "\ud800", "\x00\x1b[2J", "a\nb",
     "微分" * 60],
)  # fmt: skip
def test_names_written_by_a_model_stay_text(name: str) -> None:
    hostile, harmless = Page(render(report(name))), Page(render(report("Chain rule")))
    assert set(hostile.tags) == set(harmless.tags)
    assert hostile.tags.count("script") == 1
    assert {key for key, _ in hostile.attributes} == {key for key, _ in harmless.attributes}
    if name.isprintable():
        assert name in "".join(hostile.text)


def test_syllabi_are_shown_with_what_has_no_exercise_and_their_names_stay_text() -> None:
    bad = "<img src=x onerror=alert(1)>"
    concepts = [bad, "slope", "limit", "tangent", "secant", "continuity"]
    rows = [
        {"subject": "calculus", "session": "Week 1", "concept": name, "ordered": 1, "written": int(name == "limit")}
        for name in concepts
    ]
    nodes = [{"id": "calculus", "name": "Calculus", "level": 0}]
    page = Page(render(report(coverage=rows, graph={"graph": {"target": "calculus"}, "nodes": nodes, "edges": []})))
    text = " ".join(page.text)
    assert "Syllabi" in text
    assert f"{bad}; slope; tangent; secant; and 1 more" in text
    assert "img" not in page.tags
    assert "Syllabi" not in " ".join(Page(render(report())).text)


def test_hostile_reasons_phases_and_versions_stay_text() -> None:
    bad = "<script>x</script>"
    facts = {"state": "failed", "seed": 0, "wall_s": {bad: 1.0}, "versions": {bad: bad}}
    total = build(run=facts, graph={}, curator={"written": 1, "rejected": {bad: 3}, "decisions": {bad: 1}})
    rows = [{"step": 1, "phase": bad, "loss": 1.0}]
    verdicts = [{"step": 1, "exercise": 1, "verdict": bad, "mean_loss": 0.0, "loss_spread": 0.0}]
    page = Page(render(ReportData(summary=total, metrics=rows, verdicts=verdicts, config={"run": {"name": bad}})))
    assert page.tags.count("script") == 1


def test_the_page_loads_nothing_from_anywhere() -> None:
    text = render(report())
    page = Page(text)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not {"src", "href", "action"} & {name for name, _ in page.attributes}
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_the_policy_of_the_page_allows_its_own_script_only() -> None:
    text = render(report())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "script-src 'sha256-" in policy[1]


def test_of_a_step_taken_again_after_a_resume_the_last_row_counts() -> None:
    rows = [
        {"step": step, "phase": "exercises", "loss": loss} for step, loss in ((1, 3.0), (2, 9.0), (2, 2.5), (3, 2.0))
    ]
    text = render(report(metrics=rows))
    assert "loss 2.500" in text
    assert "loss 9.000" not in text


def test_rows_with_missing_or_null_figures_are_drawn_without_them() -> None:
    rows = [
        {"step": 1, "phase": "exercises", "loss": None},
        {"step": None},
        {"step": 2, "phase": "exercises", "loss": 1.0, "tokens_per_s": None, "idle_ratio": None},
    ]
    assert "loss 1.000" in render(report(metrics=rows))


def test_write_puts_the_page_into_the_run_folder() -> None:
    files: dict[str, str] = {}

    class Folder:
        def write_text(self, name: str, text: str) -> None:
            files[name] = text

        def read_text(self, name: str) -> str:
            return files[name]

    html.write(report(), Folder())
    assert files["report.html"].startswith("<!doctype html>")
