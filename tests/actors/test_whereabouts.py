from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsa_ray.actors.whereabouts import RUN_VARIABLE, note_process
from dsa_ray.report.logs import processes, tail
from dsa_ray.storage.filesystem import Folder

NOTED = """
from types import SimpleNamespace
from dsa_ray.actors import whereabouts
whereabouts.ray = SimpleNamespace(get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "n1"))
whereabouts.note_process("curator")
print("at work")
"""


def test_a_process_of_a_run_notes_the_files_that_it_writes_to(tmp_path: Path) -> None:
    out = tmp_path / "worker.out"
    environment = {**os.environ, RUN_VARIABLE: str(tmp_path / "run")}
    with out.open("w") as file:
        subprocess.run([sys.executable, "-c", NOTED], env=environment, stdout=file, stderr=file, check=True)
    known = processes(Folder(str(tmp_path / "run")))
    assert [(each.name, each.node) for each in known] == [("curator", "n1")]
    assert tail(known, "curator", 5)[-1] == "at work"


def test_outside_a_run_nothing_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    note_process("curator")
