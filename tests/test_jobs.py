from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsa_ray.preflight import JOB_VARIABLE
from jobs.run import arguments, closing

ROOT = Path(__file__).parents[1]
QUICKSTART = "configs/quickstart.yaml"


def job(*arguments: str, inside: bool) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in (JOB_VARIABLE, "RAY_ADDRESS")}
    if inside:
        environment[JOB_VARIABLE] = "{}"
    command = [sys.executable, str(ROOT / "jobs" / "run.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_job_with_a_relative_storage_is_refused() -> None:
    done = job(QUICKSTART, "--dry-run", inside=True)
    assert done.returncode == 2
    assert "run.storage: 'runs' is relative" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_job_joins_the_cluster_that_started_it() -> None:
    done = job(QUICKSTART, "--dry-run", "run.storage=/shared/runs", inside=True)
    assert done.returncode == 0, done.stderr
    assert "the cluster at auto" in done.stdout


def test_a_job_may_name_another_cluster() -> None:
    done = job(QUICKSTART, "--dry-run", "run.storage=/shared/runs", "cluster.address=10.0.0.1:6379", inside=True)
    assert "the cluster at 10.0.0.1:6379" in done.stdout


def test_a_job_goes_on_with_its_run_by_itself_and_says_how_it_ended(tmp_path: Path) -> None:
    assert "--auto-resume" in arguments(["a.yaml"], in_job=True)
    assert "--auto-resume" not in arguments(["a.yaml", "--resume"], in_job=True)
    assert arguments(["a.yaml"], in_job=False) == ["run", "a.yaml"]
    done = job(QUICKSTART, f"run.storage={tmp_path}", "graph.target=", inside=True)
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "job: refused: the line above names what to change (exit code 2)"


@pytest.mark.parametrize(("code", "word"), [(0, "finished"), (1, "failed"), (3, "stalled"), (130, "interrupted")])
def test_the_last_line_of_a_job_tells_its_exit_code(code: int, word: str) -> None:
    assert closing(code).startswith(f"job: {word}")
    assert closing(code).endswith(f"(exit code {code})")


def test_outside_a_job_the_script_is_dsa_run() -> None:
    done = job(QUICKSTART, "--dry-run", inside=False)
    assert done.returncode == 0, done.stderr
    assert "the cluster at" not in done.stdout


def test_an_evaluation_job_refuses_a_path_inside_its_temporary_copy() -> None:
    command = [sys.executable, str(ROOT / "jobs" / "evaluate.py"), "./runs/one"]
    environment = {**os.environ, JOB_VARIABLE: "{}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "dsa: ./runs/one: is relative, and a submitted job runs in a temporary copy; give an absolute path\n"
    )


def test_an_evaluation_job_is_dsa_eval() -> None:
    command = [sys.executable, str(ROOT / "jobs" / "evaluate.py"), "/nowhere/at/all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "neither a run nor a model" in done.stderr


def test_the_job_that_draws_a_graph_is_dsa_graph_build() -> None:
    command = [sys.executable, str(ROOT / "jobs" / "build_graph.py"), "nowhere.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("dsa: nowhere.yaml: cannot be read")
