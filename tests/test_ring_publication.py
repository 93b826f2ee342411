"""The student published while it trains, served by a real vLLM: requests in flight, versions in the answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import ray

from dsa_ray.ring import Ring
from dsa_ray.storage.run_folder import RunFolder
from tests.test_ring import DEADLINE_S, small

pytestmark = [pytest.mark.usefixtures("no_ray_left"), pytest.mark.ring, pytest.mark.slow, pytest.mark.timeout(280)]


def test_a_replica_takes_up_published_students_with_requests_in_flight(tmp_path: Path) -> None:
    config = small(tmp_path, publish_every=10, steps=100)
    chats = [[{"role": "user", "content": f"What is {number} + 1?"}] for number in range(48)]
    versions: set[str] = set()
    answers = 0
    with RunFolder.create(config.run.storage, config) as folder:
        ring = Ring(config, folder, config.student.model, ())
        try:
            ring.start()
            ring.start_student()
            ring.begin_training()
            pending: Any = None
            deadline = time.monotonic() + DEADLINE_S
            while not ring.training_over():
                status = ring.status()
                assert status["failure"] is None
                assert time.monotonic() < deadline, status
                if status["published"]:
                    ring.take_up(status["published"])
                if pending is None:
                    pending = ring._student.answer.remote(chats, 64, 0.0)
                elif ray.wait([pending], timeout=0.1)[0]:
                    given = ray.get(pending)
                    pending, answers = None, answers + len(given)
                    versions |= {version for _, version in given}
                time.sleep(0.05)
            facts = ring.facts()
            lines = ring.metrics()
        finally:
            ring.stop()
    published = facts["status"]["published"]
    assert published["step"] % 10 == 0
    assert published["blocked_s"] < 1.0
    assert len(list((Path(folder.path) / "published").iterdir())) <= 2
    taken = {version for version in versions if "step-" in version}
    assert taken, versions
    assert answers >= 48
    assert any(line.get("time/publish", 0) > 0 for line in lines)
    assert any(line.get("time/take_up", 0) > 0 for line in lines)
