"""What is replayed keeps its share of the visits, whatever children come and whenever training begins again."""

from dsa_ray.curriculum.curator import Curator
from dsa_ray.storage.state import pack_state, unpack_state
from tests.curriculum.simulation import World, small_config

ELEMENTARY = {"fractions", "powers"}


def world() -> World:
    """Two elementary and four taught skills: with `replay` 4, eight of twelve visits are replay."""
    run = World(small_config(generate={"replay": 4, "exercises_per_skill": 12}, train={"steps": 60}))
    run.curator.start()
    return run


def play(run: World, steps: int) -> list[bool]:
    """Whether each visit of a real exercise in these steps is replay."""
    attempt = run.curator.begin_attempt()
    before = len(run.rows)
    for _ in range(steps):
        run.now += 1.0
        run.write()
        run.train_step(attempt)
    table = run.curator.table
    items = [item for row in run.rows[before:] if row.phase == "exercises" for item in row.items]
    return [ELEMENTARY.issuperset(table.asked(item.exercise).skills) for item in items if item.exercise in table]


def share(visits: list[bool]) -> float:
    assert len(visits) > 50
    return sum(visits) / len(visits)


def test_children_do_not_crowd_it_out():
    run = world()
    early = play(run, 30)
    late = play(run, 20)
    assert run.curator.verdicts
    assert abs(share(early) - 2 / 3) < 0.08
    assert abs(share(late) - 2 / 3) < 0.08


def test_it_holds_when_training_begins_again_without_a_checkpoint():
    run = world()
    play(run, 20)
    run.curator.restore_training(None)
    assert abs(share(play(run, 20)) - 2 / 3) < 0.08


def test_it_holds_when_another_process_goes_on_from_a_checkpoint():
    run = world()
    play(run, 20)
    state = unpack_state(pack_state(run.curator.training_state()))
    run.curator = Curator(run.config, run.events.append, lambda: run.now)
    run.curator.restore_supply(list(run.events), run.written)
    run.curator.restore_training(state)
    run.curator.start()
    assert abs(share(play(run, 20)) - 2 / 3) < 0.08
