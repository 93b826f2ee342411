"""The epoch-wise schedule: the same curator, with a barrier."""

from collections import Counter, defaultdict

import pytest

from dsa_ray.curriculum.curator import Curator
from dsa_ray.storage.state import pack_state, unpack_state
from tests.curriculum.simulation import World, small_config

EPOCHS = {"schedule": "epochs", "burn_in_verdicts": 8, "window": 64, "planted_min": 4}


@pytest.fixture(scope="module")
def world() -> World:
    made = World(small_config(dynamics=EPOCHS, train={"steps": 120}))
    made.run()
    return made


def test_the_run_ends_and_trains_children(world: World):
    status = world.curator.status()
    assert status["step"] == status["steps"]
    assert sum(kind["trained"] for kind in status["children"].values()) > 5
    assert status["epoch"] > 3


def test_children_are_ordered_at_the_ends_of_epochs_only(world: World):
    """Between two orders of children with a lease between them, every planned row has been observed."""
    open_rows, ordered_with_open_rows = 0, []
    for event in world.events:
        if event["event"] == "lease":
            open_rows += len(event["rows"])
        elif event["event"] == "observe":
            open_rows -= 1
        elif event["event"] == "request" and event["cause"]:
            ordered_with_open_rows.append(open_rows)
    assert ordered_with_open_rows
    assert set(ordered_with_open_rows) == {0}


def test_nothing_joins_an_epoch_that_has_begun():
    world = World(small_config(dynamics=EPOCHS, train={"steps": 120}))
    world.curator.start()
    attempt = world.curator.begin_attempt()
    sizes: dict[int, set[int]] = defaultdict(set)
    while world.curator.epochs.number < 5:
        world.write(3)
        world.train_step(attempt)
        sizes[world.curator.epochs.number].add(len(world.curator.sampler))
        held = len(world.curator.table) + len(world.curator.table.planted) - len(world.curator.sampler)
        assert held == world.curator.epochs.held
        if held:
            assert 0 in {each["visits"] for each in world.curator.facts()["exercises"].values()}
    assert all(len(size) == 1 for size in sizes.values())
    assert len({size for each in sizes.values() for size in each}) > 2


def test_visits_within_the_first_epoch_are_one_each(world: World):
    first: dict[int, Counter] = defaultdict(Counter)
    for row in world.rows:
        if row.phase == "exercises":
            first[row.step].update(item.exercise for item in row.items)
    seen: Counter = Counter()
    for step in sorted(first):
        if any(seen[exercise] for exercise in first[step]):
            break
        seen.update(first[step])
    assert len(seen) > 40
    assert set(seen.values()) == {1}


def test_a_run_that_returns_to_a_checkpoint_goes_on_in_the_same_epoch():
    config = small_config(dynamics=EPOCHS, train={"steps": 120})
    world = World(config)
    world.curator.start()
    attempt = world.curator.begin_attempt()
    while world.curator.epochs.number < 3:
        world.write()
        world.train_step(attempt)
    state = unpack_state(pack_state(world.curator.training_state()))
    again = Curator(config, world.events.append, clock=lambda: world.now)
    again.restore_supply(list(world.events), world.written)
    again.start()
    again.restore_training(state)
    assert again.epochs.number == world.curator.epochs.number
    assert len(again.sampler) == len(world.curator.sampler)
    world.curator = again
    attempt = again.begin_attempt()
    for _ in range(2_000):
        world.write()
        world.train_step(attempt)
        if again.lease_rows(0, attempt, 0) is None:
            break
    assert again.status()["step"] == again.status()["steps"]
