"""Ladders while a run trains: a real student on published weights, hints of the exact writer, a death in between."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.actors.ladder_actor import CLIMBED
from dsa_ray.ladders.ladder import Ladder
from dsa_ray.ladders.samples import LADDER
from dsa_ray.storage.journal import iter_segments
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.texts import STREAM
from tests.test_ring import drive, pid_of, small

pytestmark = [pytest.mark.usefixtures("no_ray_left"), pytest.mark.ring, pytest.mark.slow, pytest.mark.timeout(280)]


def test_skills_that_stay_hard_are_climbed_meanwhile_and_what_they_teach_is_trained_on(tmp_path: Path) -> None:
    config = small(tmp_path, publish_every=100, steps=600)
    yoda = {"live": True, "hard_verdicts": 1, "per_skill": 16, "at_once": 4, "refinements": 1, "demonstrate": True}
    config = config.model_copy(update={"yoda": config.yoda.model_copy(update=yoda)})
    at_death = 0

    def kill_once(status: dict[str, Any]) -> None:
        nonlocal at_death
        if not at_death and status["ladders"].get("over", 0) >= 2:
            at_death = status["ladders"]["over"]
            os.kill(pid_of("LadderActor"), signal.SIGKILL)

    facts = drive(config, kill_once, student=True)
    folder = RunFolder.open(f"{config.run.storage}/{config.run.name}")
    ladders = facts["ladders"]
    assert 2 <= at_death < ladders["over"] <= ladders["wanted"] == facts["decisions"]["ladder"]
    written = [row for _, rows in iter_segments(folder.journal, STREAM) for row in rows]
    taught = [row for row in written if LADDER in dict(row["checks"])]
    assert len({dict(row["checks"])[LADDER] for row in taught}) == len({row["id"] for row in taught}) == len(taught)
    assert len(taught) >= ladders["samples"] > 0
    assert any(facts["exercises"][row["id"]]["visits"] for row in taught)
    climbed = [Ladder.from_state_dict(row) for _, rows in iter_segments(folder.journal, CLIMBED) for row in rows]
    assert len({ladder.id for ladder in climbed}) >= ladders["over"]
    versions = {attempt.version for ladder in climbed for rung in ladder.rungs for attempt in rung.attempts}
    assert any("step-" in version for version in versions), versions
