"""A replica that answers garbage beside two that do not: replaced by Ray, and everything is written."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dsa_ray.config import parse
from dsa_ray.curriculum.host import EVENTS
from dsa_ray.records import Scope
from dsa_ray.ring import Ring
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from tests.engines.scripted import BROKEN
from tests.test_ring import DEADLINE_S, small

pytestmark = [pytest.mark.ring, pytest.mark.slow, pytest.mark.timeout(280)]


def test_it_is_replaced_once_and_nothing_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BROKEN, str(tmp_path / "broken"))
    data = small(tmp_path).model_dump()
    data["teacher"]["factory"] = "tests.engines.scripted:one_of_them_broken"
    data["generate"] |= {"replicas": 3, "exercises_per_skill": 60, "in_flight": 8}
    config = parse(data)
    with RunFolder.create(config.run.storage, config) as folder:
        ring = Ring(config, folder, config.student.model, (), Scope.TEXTS)
        try:
            ring.start()
            deadline = time.monotonic() + DEADLINE_S
            while not ring.writing_over():
                assert time.monotonic() < deadline, ring.status()
                ring.tend()
                time.sleep(0.2)
            facts = ring.facts()
        finally:
            ring.stop()
        told = [row for _, rows in iter_segments(folder.journal, EVENTS) for row in rows]
    assert list(facts["replaced"].values()) == [1]
    assert len([row for row in told if row["event"] == "garbage"]) == 1
    spoilt = [row for row in told if row["event"] == "reject" and row["final"] and row["reason"] == "schema"]
    assert spoilt == []
    assert facts["rejected"]["schema"] >= 16
