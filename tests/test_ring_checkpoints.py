"""Checkpoints on a local Ray, with real Ray Train and DeepSpeed: killed, resumed, on a disk that is full."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.ring import Ring
from dsa_ray.storage.checkpoints import CheckpointStore, step_name
from dsa_ray.storage.run_folder import RunFolder
from tests.test_ring import RANK, drive, events, kill_once, small

pytestmark = [pytest.mark.usefixtures("no_ray_left"), pytest.mark.ring, pytest.mark.timeout(280)]


@pytest.mark.slow
def test_a_killed_rank_takes_the_same_steps_again_to_the_last_bit(tmp_path: Path) -> None:
    config = small(tmp_path)
    kill_one_rank, killed = kill_once(RANK, step=32)
    facts = drive(config, kill_one_rank)
    assert killed
    assert facts["status"]["attempt"] == 2
    again = 0
    for first, *later in observations(config).values():
        for repeated in later:
            if repeated[0] == first[0]:  # the same examples: planned before the checkpoint
                assert repeated == first
                again += 1
    assert again >= 2

    run = RunFolder.open(f"{config.run.storage}/{config.run.name}")
    store = CheckpointStore(run.checkpoints)
    last = facts["status"]["step"]
    assert store.latest() == step_name(last)
    assert len(store.names()) == config.train.keep_checkpoints
    store.verify(store.latest())
    assert {saved["step"] for saved in facts["checkpoints"]} >= {20, last}
    assert any("time/checkpoint" in line for line in run.read_metrics()) or facts["checkpoints"]

    from transformers import AutoModelForCausalLM

    exported, final = f"{run.checkpoints}/{store.latest()}/student", run.student
    weights = [AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (exported, final)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert "| Skill graph |" in Path(exported, "README.md").read_text()


def observations(config: Any) -> dict[tuple[int, int], list[tuple[list[int], list[float]]]]:
    """(step, rank) to what was observed there, in the order of the attempts."""
    seen: dict[tuple[int, int], list[tuple[list[int], list[float]]]] = defaultdict(list)
    for event in events(config):
        if event["event"] == "observe":
            seen[event["step"], event["rank"]].append((event["ids"], event["losses"]))
    return seen


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    config = small(tmp_path, checkpoint_every=10, keep_checkpoints=5)
    with RunFolder.create(config.run.storage, config) as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder.checkpoints])
        if mounted.returncode:
            pytest.skip("this user may not mount")
        ring = Ring(config, folder, config.student.model, ())
        try:
            ring.start()
            ring.begin_training()
            while not (status := ring.status())["failure"]:
                assert not ring.training_over()
        finally:
            ring.stop()
            good = CheckpointStore(folder.checkpoints)
            latest = good.latest()
            good.verify(latest)
            subprocess.run(["umount", folder.checkpoints], check=True)
    assert "No space left on device" in status["failure"]
    assert f"{latest} stays the latest" in status["failure"]


@pytest.mark.slow
def test_a_damaged_checkpoint_ends_a_resumed_run_at_once_with_its_name(tmp_path: Path) -> None:
    config = small(tmp_path, steps=20, textbook_passes=0)
    drive(config)
    longer = small(tmp_path, steps=60, textbook_passes=0)
    with RunFolder.create(longer.run.storage, longer, resume=True) as folder:
        store = CheckpointStore(folder.checkpoints)
        damaged = next(Path(folder.checkpoints, store.latest()).rglob("*optim_states.pt"))
        damaged.write_bytes(bytes(reversed(damaged.read_bytes())))
        ring = Ring(longer, folder, longer.student.model, ())
        try:
            ring.start()
            ring.begin_training()
            while not (status := ring.status())["failure"]:
                assert not ring.training_over()
        finally:
            ring.stop()
    assert f"checkpoint {store.latest()} in" in status["failure"]
    assert f"{damaged.name} is damaged" in status["failure"]
    assert "\n" not in status["failure"]
