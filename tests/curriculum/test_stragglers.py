"""One text that does not come holds up nobody, where the configuration says so."""

from dsa_ray.records import Assignment, Kind
from tests.curriculum.simulation import World, numbers_for, small_config


def write_all_but_one(world: World, kind: Kind) -> None:
    """Everything that is requested is written, but the first request of a kind, which its replica keeps."""
    kept = False
    for _ in range(200):
        work = world.curator.lease_requests("r0", "1", 32)
        rows = []
        for place, each in enumerate(work):
            if each.request.kind is kind and not kept:
                kept = True
                continue
            rows.append(numbers_for(each, place))
        if rows:
            world.curator.accept(world.segment, rows)
            world.segment += 1
        elif not work:
            return
    raise AssertionError("there was no end of requests")


def started(**generate: float) -> World:
    world = World(small_config(generate={"exercises_per_skill": 12, "slots": 64, "in_flight": 16, **generate}))
    world.curator.start()
    world.curator.begin_attempt()
    return world


def test_by_default_the_first_phase_waits_for_every_textbook():
    world = started()
    write_all_but_one(world, Kind.TEXTBOOK)
    assert not world.train_step(1)


def test_with_a_share_a_straggling_textbook_is_read_when_it_comes():
    world = started(wait_share=0.7)
    write_all_but_one(world, Kind.TEXTBOOK)
    assert world.train_step(1)
    assert len(world.curator.supply.textbooks) == 3
    (late,) = [lease.request for lease in world.curator.supply.book._leased.values()]
    assert late.kind is Kind.TEXTBOOK
    while world.curator.ledger.closed_step < 8:
        world.train_step(1)
    world.curator.accept(999, [numbers_for(Assignment(request=late, skills=()), 0)])
    for _ in range(20):
        world.train_step(1)
    assert late.id in {item.exercise for row in world.rows for item in row.items}


def test_an_epoch_begins_without_its_stragglers():
    for share, begins in ((1.0, False), (0.9, True)):
        world = World(
            small_config(
                generate={"exercises_per_skill": 12, "slots": 64, "in_flight": 16, "wait_share": share},
                dynamics={"schedule": "epochs"},
                train={"textbook_passes": 0},
            )
        )
        world.curator.start()
        attempt = world.curator.begin_attempt()
        write_all_but_one(world, Kind.EXERCISE)
        assert world.train_step(attempt) is begins
