"""The main job for real: `dsa run` in a process of its own, with vLLM, Ray Data, Ray Train and DeepSpeed; small."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.report.logs import processes
from dsa_ray.report.metrics import samples
from dsa_ray.storage.checkpoints import step_name
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from tests.storage.s3_server import bucket_of

ROOT = Path(__file__).parents[1]
DEADLINE_S = 270
SMALL = [
    "generate.exercises_per_skill=6",
    "generate.max_exercises=300",  # so few that they are visited often enough for verdicts, however slow the trainer is
    "train.steps=60",
    "train.checkpoint_every=20",
    "train.slots=8",
    "dynamics.burn_in_verdicts=16",
    "dynamics.planted_min=8",
    "evaluate.questions_per_skill=2",
]


def start(storage: Path | str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dsa_ray.cli", "run", str(ROOT / "configs" / "quickstart.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, "run.name=small", f"run.storage={storage}", *SMALL, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=_hear_interrupts,
    )


def _hear_interrupts() -> None:
    """Where the tests run in the background of a shell, they and their children would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=DEADLINE_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def check_complete(folder: RunFolder, output: str) -> dict[str, Any]:
    """Everything that a finished run leaves is there and agrees; returns the summary."""
    names = ("graph.json", "textbooks.parquet", "exercises.parquet", "metrics.jsonl", "summary.json", "report.html")
    assert [name for name in names if not folder.exists(name)] == []
    summary = json.loads(folder.read_text("summary.json"))
    assert summary["state"] == "finished", output
    assert summary["accuracy"]["before"]["n"] == summary["accuracy"]["after"]["n"] > 0
    assert summary["exercises"]["written"] > 100
    assert sum(summary["verdicts"].values()) > 0
    written = [row["id"] for _, rows in iter_segments(folder.journal, "written") for row in rows]
    assert max(Counter(written).values()) == 1
    return summary


@pytest.mark.ring
@pytest.mark.timeout(300)
def test_a_small_quickstart_runs_for_real(tmp_path: Path):
    process = start(tmp_path)
    output = finish(process)
    assert process.returncode == 0, output
    folder = RunFolder.open(f"{tmp_path}/small")
    summary = check_complete(folder, output)
    assert summary["skills"] >= 20
    assert len({node["level"] for node in json.loads(folder.read_text("graph.json"))["nodes"]}) >= 5
    assert summary["train"]["steps"] > 60  # textbooks too
    assert "Accuracy" in output
    assert "| Accuracy after |" in folder.read_text("student/README.md")
    noted = {process.name for process in processes(folder.folder)}
    assert noted == {"driver", "curator", "recorder", "teacher-0", "student", "trainer", "rank-0", "rank-1"}
    status = json.loads(folder.read_text("status.json"))
    assert samples(status, [], time.time())

    from transformers import AutoModelForCausalLM, AutoTokenizer

    student = AutoModelForCausalLM.from_pretrained(folder.student)
    assert student.generate(max_new_tokens=4, do_sample=False).shape[0] == 1
    assert AutoTokenizer.from_pretrained(folder.student).chat_template


@pytest.mark.ring
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_interrupted_run_resumes_without_writing_anything_again(tmp_path: Path):
    process = start(tmp_path)
    try:
        wait_for_step(f"{tmp_path}/small", 40)
    finally:
        process.send_signal(signal.SIGINT)
    output = finish(process)
    assert process.returncode == 130, output
    assert "--resume" in output
    check_resumed(tmp_path)


@pytest.mark.ring
@pytest.mark.slow
@pytest.mark.timeout(700)
def test_a_run_on_an_object_store_is_killed_and_resumed() -> None:
    with bucket_of("whole-runs") as storage:
        process = start(storage, "train.publish_every=20")
        try:
            wait_for_step(f"{storage}/small", 40)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        check_resumed(storage, "train.publish_every=20")
        assert Folder(f"{storage}/small/published").names()[-1] == step_name(60)


def check_resumed(storage: Path | str, *arguments: str) -> None:
    """Resume the run: it comes to its end, and nothing that was durable is lost or asked for again."""
    folder = RunFolder.open(f"{storage}/small")
    before = {row["id"] for _, rows in iter_segments(folder.journal, "written") for row in rows}
    assert before
    again = start(storage, "--resume", *arguments)
    output = finish(again)
    assert again.returncode == 0, output
    check_complete(folder, output)
    after = {row["id"] for _, rows in iter_segments(folder.journal, "written") for row in rows}
    assert before <= after
    events = (row for _, rows in iter_segments(folder.journal, "events") for row in rows)
    assert max(Counter(row["id"] for row in events if row["event"] == "request").values()) == 1


@pytest.mark.ring
@pytest.mark.slow
@pytest.mark.timeout(700)
def test_a_full_disk_ends_the_run_and_it_goes_on_later_with_fewer_ranks(tmp_path: Path):
    disk = tmp_path / "small" / "checkpoints"
    disk.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)]).returncode:
        pytest.skip("this user may not mount")
    try:
        process = start(tmp_path, "train.keep_checkpoints=4")
        output = finish(process)
        assert process.returncode == 1, output
        assert "No space left on device" in output
        kept = re.search(r"(step-\d+) stays the latest", " ".join(output.split()))  # lines are wrapped
        assert kept, output
        assert (disk / kept[1]).is_dir()
        assert (tmp_path / "small" / "student" / "config.json").is_file()  # that of the checkpoint
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        again = start(tmp_path, "train.keep_checkpoints=4", "--resume", "train.ranks=1")
        output = finish(again)
        assert again.returncode == 0, output
        check_complete(RunFolder.open(f"{tmp_path}/small"), output)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def wait_for_step(url: str, step: int) -> None:
    folder, deadline = Folder(url), time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if folder.exists("status.json") and json.loads(folder.read("status.json"))["step"] >= step:
            return
        time.sleep(1)
    raise AssertionError(f"step {step} was not reached in {DEADLINE_S} s")
