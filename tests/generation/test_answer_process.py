from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dsa_ray.generation.answer_process import AnswerProcess, AnswerWorkerError

HOLDS_THE_PROCESSOR = "9^{9^{9}}"
"""Python computes this power in one call that no alarm gets through."""


@pytest.fixture(scope="module")
def worker() -> Iterator[AnswerProcess]:
    worker = AnswerProcess(timeout_s=3.0, memory_mib=1024)
    yield worker
    worker.close()


def gone(pid: int) -> bool:
    """Neither alive nor a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_it_starts_with_the_first_pair_and_serves_many(worker: AnswerProcess) -> None:
    before = worker.starts
    assert worker.same("\\frac{1}{2}", "0.5")
    assert not worker.same("x", "x^{2}")
    assert worker.same("(x + 1) \\cdot (x - 1)", "x^{2} - 1")
    assert worker.starts <= before + 1


def test_the_process_that_reads_what_models_write_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hidden")
    monkeypatch.setenv("LC_TIME", "C")
    worker = AnswerProcess(timeout_s=3.0, memory_mib=1024)
    assert worker.same("2", "2.0")
    environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
    worker.close()
    assert b"hidden" not in environment
    assert b"LC_TIME=C" in environment


def test_closing_leaves_no_process_and_a_later_pair_starts_another(worker: AnswerProcess) -> None:
    assert worker.same("x", "x")
    pid = worker.pid
    worker.close()
    worker.close()
    assert pid is not None
    assert gone(pid)
    starts = worker.starts
    assert worker.same("x", "x")
    assert worker.starts == starts + 1


def test_a_worker_that_was_killed_is_replaced(worker: AnswerProcess) -> None:
    assert worker.same("x", "x")
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert worker.same("2x", "x + x")
    assert gone(pid)


def test_a_stopped_worker_is_killed_at_the_deadline(worker: AnswerProcess) -> None:
    worker.same("x", "x")
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    assert not worker.same("x", "x")
    assert 2.9 < time.monotonic() - began < 6
    assert gone(pid)
    assert worker.pid is None


def test_a_pair_may_have_less_time_than_the_worker_gives(worker: AnswerProcess) -> None:
    worker.same("x", "x")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    before = worker.spent_s
    assert not worker.same("x", "x", within_s=0.3)
    assert 0.3 <= worker.spent_s - before < 2.5


def test_a_power_tower_costs_no_more_than_its_time(worker: AnswerProcess) -> None:
    worker.same("x", "x")
    began = time.monotonic()
    assert not worker.same(HOLDS_THE_PROCESSOR, f"{HOLDS_THE_PROCESSOR} + 1")
    assert time.monotonic() - began < 6
    assert worker.same("x", "x")


def test_memory_is_bounded(worker: AnswerProcess) -> None:
    worker.same("x", "x")
    limits = Path(f"/proc/{worker.pid}/limits")
    if not limits.exists():
        pytest.skip("needs /proc to read another process's limits")
    line = next(line for line in limits.read_text().splitlines() if line.startswith("Max address space"))
    assert line.split()[3] == str(1024 * 2**20)


def test_too_little_memory_to_start_is_said_in_one_line() -> None:
    worker = AnswerProcess(timeout_s=1.0, memory_mib=48)
    with pytest.raises(AnswerWorkerError, match="does not start"):
        worker.same("x", "x")
    worker.close()


def test_a_forgotten_owner_takes_its_worker_along() -> None:
    worker = AnswerProcess(timeout_s=3.0, memory_mib=1024)
    worker.same("x", "x")
    pid = worker.pid
    assert pid is not None
    del worker
    gc.collect()
    assert gone(pid)


def test_the_worker_ends_when_its_owner_dies(tmp_path: Path) -> None:
    code = (
        "import os; from dsa_ray.generation.answer_process import AnswerProcess\n"
        "w = AnswerProcess(3.0, 1024); w.same('x', 'x'); print(w.pid, flush=True); os._exit(1)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert eventually(lambda: gone(int(run.stdout)))
