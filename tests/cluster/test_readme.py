"""What the cluster's page says of the system is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsa_ray.config import Config
from dsa_ray.report.metrics import METRICS
from dsa_ray.report.reference import config_reference

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "cluster" / "README.md").read_text()
SOURCES = " ".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in sorted((ROOT / "dsa_ray").rglob("*.py")))
SECTIONS = set(Config.model_fields)
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("## Troubleshooting")[2], re.MULTILINE)


@pytest.mark.parametrize("message", MESSAGES)
def test_troubleshooting_quotes_messages_that_the_system_prints(message: str) -> None:
    assert message in SOURCES


def test_troubleshooting_has_entries() -> None:
    assert len(MESSAGES) >= 12


def test_every_key_that_the_page_names_is_a_key() -> None:
    known = {f"{section}.{key}" for section, key in keys()}
    named = {name for name in re.findall(r"`(\w+\.\w+)`", PAGE) if name.split(".")[0] in SECTIONS}
    assert named - known == set()
    assert len(named) > 15


def test_every_metric_and_file_that_the_page_names_is_there() -> None:
    assert set(re.findall(r"`(ray_dsa_\w+)`", PAGE)) <= {metric.exported for metric in METRICS}
    for name in re.findall(r"`([\w-]+\.(?:yaml|json|sh)|Dockerfile)`", PAGE):
        if name not in {"config.json", "summary.json", "generation.json", "prometheus.yml"}:
            assert (ROOT / "cluster" / name).is_file(), name


def test_every_launch_file_is_on_the_page() -> None:
    assert [
        path.name for path in (ROOT / "cluster").iterdir() if path.name not in PAGE and path.name != "README.md"
    ] == []


def keys() -> list[tuple[str, str]]:
    """(section, key) of the reference, top sections only."""
    section, found = "", []
    for line in config_reference().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").partition(".")[0]
        elif line.startswith("| `"):
            found.append((section, line.split("`")[1]))
    return [*found, *((section, "budget") for section in ("generate",)), ("generate", "checks")]
