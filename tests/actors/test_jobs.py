from __future__ import annotations

from pathlib import Path

import pytest

from dsa_ray.actors.jobs import run_of_job
from dsa_ray.config import ConfigError

ROOT = Path(__file__).parents[2]


def test_a_jobs_run_is_found_by_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    entry = "python jobs/run.py configs/quickstart.yaml run.storage=s3://bucket/runs 'graph.target=linear algebra'"
    assert run_of_job("raysubmit_abc", lambda job: entry) == "s3://bucket/runs/quickstart"
    assert run_of_job("job:mine", lambda job: f"{entry} run.name={job}") == "s3://bucket/runs/mine"


def test_a_job_that_is_no_run_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"raysubmit_abc: its entry point names no configuration: sleep 5"):
        run_of_job("raysubmit_abc", lambda job: "sleep 5")
