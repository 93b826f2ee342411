from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from dsa_ray import cli
from dsa_ray.config import Config
from dsa_ray.report.dashboard import text
from dsa_ray.report.metrics import METRICS
from dsa_ray.report.reference import config_reference, metrics_reference


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        parts = [
            part for part in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(part, type)
        ]
        inner: Any = next((part for part in parts if issubclass(part, BaseModel)), None)
        yield from keys(inner) if inner else [name]


def test_the_configuration_reference_has_every_key_once_per_section() -> None:
    rows = [line.split("`")[1] for line in config_reference().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(keys(Config))


def test_every_key_has_its_sentence() -> None:
    assert [line for line in config_reference().splitlines() if line.startswith("| `") and line.endswith("|  |")] == []


@pytest.mark.parametrize(
    "row",
    [
        "| `steps` | whole number, at least 1 | `200` | Optimizer steps on exercises. |",
        "| `zero_stage` | `0`, `1`, `2`, `3` | `2` | DeepSpeed ZeRO stage. |",
        "| `min_replicas` | whole number, at least 0 | none |",
        "| `target` | text, at least 1 long, at most 200 long | must be given |",
        "| `skills_per_exercise` | list of whole number, at least 1 | `[1, 2]` |",
        "## generate.checks",
        "## generate.seeds[]",
        "## teachers[]",
    ],
)
def test_the_configuration_reference_tells_type_bounds_default_and_meaning(row: str) -> None:
    assert row in config_reference()


def test_the_metrics_reference_has_every_metric_with_its_labels() -> None:
    text = metrics_reference()
    for metric in METRICS:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{metric.exported}` |"))
        assert metric.help in row
        assert all(f"`{label}`" in row for label in metric.labels)


def test_tables_have_as_many_cells_in_every_row() -> None:
    for made in (config_reference(), metrics_reference()):
        rows = [line.replace("\\|", "") for line in made.splitlines() if line.startswith("|")]
        assert {row.count("|") for row in rows} <= {4, 5}


@pytest.mark.parametrize(
    ("what", "made"), [("config", config_reference), ("metrics", metrics_reference), ("dashboard", text)]
)
def test_docs_prints_each(what: str, made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["docs", what]) == 0
    assert capsys.readouterr().out == made()
