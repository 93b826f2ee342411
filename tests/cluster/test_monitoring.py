"""The dashboard and the alert rules ask for nothing that is not published."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from dsa_ray.report.dashboard import dashboard, queries, text
from dsa_ray.report.metrics import METRICS, RUN

CLUSTER = Path(__file__).parents[2] / "cluster"
KNOWN = {metric.exported: {RUN, *metric.labels} for metric in METRICS}
RULES = [rule for group in yaml.safe_load((CLUSTER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]


def faults(query: str) -> list[str]:
    """What a query asks for that the table does not have."""
    names = re.findall(r"ray_dsa_\w+", query)
    labels = {label for name in names for label in KNOWN.get(name, set())} | {"WorkerId"}
    wrong = [name for name in names if name not in KNOWN]
    asked = re.findall(r"[{,]\s*(\w+)\s*[=!]", query)
    asked += [label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")]
    return wrong + [label for label in asked if label not in labels]


def test_the_dashboard_in_the_folder_is_the_one_that_the_package_makes() -> None:
    assert (CLUSTER / "grafana.json").read_text() == text(), "dsa docs dashboard > cluster/grafana.json"


@pytest.mark.parametrize("query", queries())
def test_a_query_of_the_dashboard_names_published_metrics_and_labels(query: str) -> None:
    assert faults(query) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_published_metrics_and_labels_and_says_what_to_do(rule: dict) -> None:
    assert faults(rule["expr"]) == []
    assert "ray_dsa_" in rule["expr"]
    assert rule["annotations"].keys() == {"summary", "description"}


@pytest.mark.parametrize("query", ["ray_dsa_nothing", "ray_dsa_phase{stage='a'}", "max by (reason) (ray_dsa_phase)"])
def test_the_check_catches_what_is_not_published(query: str) -> None:
    assert faults(query)


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    asked = " ".join([*queries(), *(rule["expr"] for rule in RULES)])
    assert [name for name in KNOWN if not re.search(rf"{name}\b", asked)] == []


def test_the_dashboards_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = json.loads(text())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", ())} == {"${datasource}"}


def test_a_person_can_choose_the_prometheus_and_the_run() -> None:
    assert [variable["name"] for variable in dashboard()["templating"]["list"]] == ["datasource", RUN]


def test_vllm_has_the_metrics_that_the_dashboard_shows() -> None:
    found = find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        pytest.skip("vLLM is not installed")
    source = (Path(found.submodule_search_locations[0]) / "v1" / "metrics" / "loggers.py").read_text()
    for name in re.findall(r"ray_vllm_(\w+)", " ".join(queries())):
        assert f'"vllm:{name}"' in source
