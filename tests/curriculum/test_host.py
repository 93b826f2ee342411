import json
from pathlib import Path

import numpy as np
import pytest

from dsa_ray.curriculum.host import CURATOR_STATE, CuratorHost
from dsa_ray.storage.checkpoints import META, CheckpointStore, step_name
from dsa_ray.storage.run_folder import RunFolder
from dsa_ray.storage.state import pack_state
from tests.curriculum.simulation import World, small_config


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world whose curator belongs to a host."""
    config = small_config(run={"name": "one", "storage": str(tmp_path)})
    with RunFolder.create(str(tmp_path), config) as folder:
        world = World(config)
        world.host = CuratorHost(config, folder.path)  # type: ignore[attr-defined]
        world.curator = world.host.curator  # type: ignore[attr-defined]
        world.host.start()  # type: ignore[attr-defined]
        yield world


def step(world: World, attempt: int, ranks: tuple[int, ...] = (0, 1)) -> int:
    """Each of these ranks trains and reports its next row; returns the step."""
    for rank in ranks:
        rows = world.curator.lease_rows(rank, attempt, 1)
        while not rows:
            world.write()
            rows = world.curator.lease_rows(rank, attempt, 1)
        ids = np.array([item.exercise for row in rows for item in row.items])
        report = {"rank": rank, "attempt": attempt, "step": rows[0].step, "leases": [row.lease for row in rows]}
        figures = dict.fromkeys(("lr", "loss", "grad_norm", "wait_s", "step_s", "tokens", "loss_tokens"), 1.0)
        world.host.observe({**report, **figures, "phase": rows[0].phase}, ids, np.ones(len(ids)))
    return rows[0].step


def test_a_snapshot_is_of_the_step_that_was_asked_for_though_training_goes_on(world: World) -> None:
    attempt = world.host.begin_attempt(None)
    first = step(world, attempt)
    second = step(world, attempt, ranks=(0,))
    world.host.want_snapshot(second)  # rank 1 has not reported yet
    assert world.host.snapshot(second) is None
    step(world, attempt, ranks=(0,))  # rank 0 is ahead
    step(world, attempt, ranks=(1,))
    expected = world.host.snapshot(second)
    assert expected["ledger"]["closed_step"] == second == first + 1
    step(world, attempt, ranks=(1,))
    assert world.host.snapshot(second)["ledger"]["closed_step"] == second
    with pytest.raises(RuntimeError, match="has closed step 3"):
        world.host.want_snapshot(second)


def test_a_snapshot_is_given_up_when_the_trainer_begins_again(world: World) -> None:
    attempt = world.host.begin_attempt(None)
    world.host.want_snapshot(step(world, attempt, ranks=(0,)))
    world.host.begin_attempt(None)
    with pytest.raises(RuntimeError, match="the trainer began again"):
        world.host.snapshot(1)


def test_what_a_save_cost_is_in_the_next_line_of_metrics(world: World) -> None:
    attempt = world.host.begin_attempt(None)
    world.host.saved({"step": 1, "blocked_s": 0.25, "staging": ""})
    for _ in range(10):
        step(world, attempt)
    lines = world.host.drain_metrics(1)
    assert world.host.drain_metrics(1) == lines  # asked again: the first answer was lost
    assert world.host.drain_metrics(2) == []
    assert [line.get("time/checkpoint") for line in lines] == [0.25, None]
    assert world.host.status()["checkpoint"] == {"step": 1, "blocked_s": 0.25, "staging": ""}


def test_a_snapshot_that_is_told_again_costs_once(world: World) -> None:
    attempt = world.host.begin_attempt(None)
    for version in ("step-1", "step-1", "step-2"):
        world.host.was_published({"version": version, "step": 1, "path": "/x", "blocked_s": 0.25})
    for _ in range(10):
        step(world, attempt)
    assert world.host.drain_metrics(1)[0]["time/publish"] == 0.5
    assert world.host.status()["published"]["version"] == "step-2"


def test_the_first_failure_is_the_one_that_is_told(world: World) -> None:
    world.host.fail("the disk is full")
    world.host.fail("the trainer is gone")
    assert world.host.status()["failure"] == "the disk is full"
    assert world.host.generation_over


def test_a_reader_of_rows_is_over_when_another_one_follows_it(world: World) -> None:
    step(world, world.host.begin_attempt(None))
    world.write()
    attempt, first = world.host.open_rows(0)
    assert world.host.lease_rows(0, attempt, 1, first, 0) is not None
    _, second = world.host.open_rows(0)
    assert world.host.open_rows(1)[1] == first  # ranks are apart
    assert world.host.lease_rows(0, attempt, 1, first, 1) is None
    assert world.host.lease_rows(0, attempt, 1, second, 0) is not None


def test_a_lease_of_rows_that_is_asked_for_again_is_the_same(world: World) -> None:
    step(world, world.host.begin_attempt(None))
    world.write()
    attempt, reader = world.host.open_rows(0)
    given = world.host.lease_rows(0, attempt, 1, reader, 0)
    assert given
    assert world.host.lease_rows(0, attempt, 1, reader, 0) == given
    assert world.host.lease_rows(0, attempt, 1, reader, 1) != given


def commit(world: World, folder: Path, attempt: int) -> int:
    """Train a step and make its checkpoint the latest, as the ranks do; returns the step."""
    done = step(world, attempt)
    world.host.want_snapshot(done)
    staged, store = folder / "staged", CheckpointStore(world.host._run.checkpoints)
    staged.mkdir(exist_ok=True)
    (staged / CURATOR_STATE).write_bytes(pack_state(world.host.snapshot(done)))
    (staged / META).write_text(json.dumps({"step": done, "loss": 1.0, "ranks": 1}))
    store.write_part(step_name(done), 0, str(staged))
    store.commit(step_name(done), 1)
    return done


def test_a_curator_that_ends_before_the_last_checkpoint_counts_takes_it_up_when_training_is_over(
    world: World, tmp_path: Path
) -> None:
    attempt = world.host.begin_attempt(None)
    early = commit(world, tmp_path, attempt)
    anew = CuratorHost(world.config, world.host._run.path)
    anew.curator.restore_supply(world.host.take_events(), world.written)
    anew._anew = True
    anew.start()
    assert anew.status()["step"] == early
    last = commit(world, tmp_path, attempt)
    with pytest.raises(RuntimeError, match="has to begin again"):
        anew.require_attempt()
    anew.training_over()
    assert anew.status()["step"] == last == early + 1


def test_the_end_of_training_changes_nothing_for_a_curator_that_saw_all_of_it(world: World, tmp_path: Path) -> None:
    attempt = world.host.begin_attempt(None)
    commit(world, tmp_path, attempt)
    last = step(world, attempt)
    world.host.training_over()
    assert world.host.status()["step"] == last
