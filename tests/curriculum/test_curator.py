from collections import Counter
from typing import Any

import pytest

from dsa_ray.curriculum.curator import Curator
from dsa_ray.records import CHILD_KINDS, Assignment, Kind, TextRef
from dsa_ray.storage.state import pack_state, unpack_state
from tests.curriculum import simulation
from tests.curriculum.simulation import World, numbers_for, small_config


def test_a_run_draws_the_graph_reads_the_textbooks_and_orders_children():
    world = World(small_config())
    world.run()
    status = world.curator.status()
    assert status["skills"] == 6
    assert status["textbooks"] == 4  # two of the six are elementary
    assert status["step"] == status["steps"] == status["textbook_steps"] + 60
    assert sum(status["verdicts"].values()) > 50
    children = status["children"]
    assert children["variant"]["trained"] > 0
    assert children["composed"]["trained"] + children["harder"]["trained"] > 0


def test_every_step_has_rows_for_every_rank_and_one_denominator():
    world = World(small_config())
    world.run()
    by_step: dict[int, list] = {}
    for row in world.rows:
        by_step.setdefault(row.step, []).append(row)
    for rows in by_step.values():
        assert sorted(row.rank for row in rows) == [0, 1]
        loss_tokens = sum(item.weight * item.loss_tokens for row in rows for item in row.items)
        assert {row.denominator for row in rows} == {loss_tokens}


def test_no_exercise_passes_its_cap_and_none_comes_twice_in_a_step():
    world = World(small_config())
    world.run()
    visits = Counter(item.exercise for row in world.rows if row.phase == "exercises" for item in row.items)
    assert max(visits.values()) <= world.config.dynamics.cap
    tuning = [row for row in world.rows if row.phase == "exercises"]
    in_steps = Counter((row.step, item.exercise) for row in tuning for item in row.items)
    assert max(in_steps.values()) == 1


def test_a_verdict_orders_a_child_at_the_head_of_the_queue():
    world = World(
        small_config(generate={"exercises_per_skill": 200, "slots": 64, "in_flight": 16}, train={"steps": 200})
    )
    world.curator.start()
    attempt = world.curator.begin_attempt()
    for _ in range(400):
        world.write(8)
        world.train_step(attempt)
        if any(event["event"] == "verdict" and event["children"] for event in world.events):
            break
    assert world.curator.supply.book.queue_depth > 1
    first = world.curator.lease_requests("r0", "1", 1)[0].request
    assert first.cause is not None
    assert first.kind in CHILD_KINDS


def test_training_goes_on_when_the_teacher_falls_silent():
    world = World(small_config())
    world.curator.start()
    attempt = world.curator.begin_attempt()
    while not world.curator.planner.textbooks_known or len(world.curator.table) < 30:
        world.write(8)
    steps = 0
    while world.train_step(attempt):
        steps += 1
    exercise_visits = sum(len(row.items) for row in world.rows if row.phase == "exercises")
    assert exercise_visits > 2 * 30  # revisits, up to the cap
    assert world.curator.lease_rows(0, attempt, 1) == []  # then it waits, and does not end


def test_a_new_attempt_trains_what_the_older_one_held_and_old_reports_do_not_count():
    world = World(small_config())
    world.curator.start()
    while len(world.curator.table) < 30:
        world.write(8)
    first = world.curator.begin_attempt()
    held = world.curator.lease_rows(0, first, 1)
    second = world.curator.begin_attempt()
    assert not world.observe(0, first, held)
    again = world.curator.lease_rows(0, second, 1)
    assert [row.lease for row in again] == [row.lease for row in held]


def test_restoring_a_checkpoint_voids_later_losses_and_keeps_what_was_written():
    world = World(small_config())
    world.curator.start()
    attempt = world.curator.begin_attempt()
    state, at = b"", 0
    for _ in range(40):
        world.write()
        world.train_step(attempt)
        if world.curator.ledger.closed_step == 20 and not state:
            state, at = pack_state(world.curator.training_state()), len(world.curator.table)
    written = len(world.curator.table)
    assert written > at
    world.curator.restore_training(unpack_state(state))
    assert world.curator.ledger.closed_step == 20
    assert world.curator.history.closed == 20
    assert len(world.curator.table) == written
    orders_before = {(e["cause"], e["id"]) for e in _requests(world) if e["cause"]}
    attempt = world.curator.begin_attempt()
    for _ in range(30):
        world.write()
        world.train_step(attempt)
    causes = Counter(tuple(e["cause"]) for e in _requests(world) if e["cause"])
    assert orders_before
    assert max(causes.values()) == 1


@pytest.mark.parametrize("resumed", [False, True])
def test_children_that_lost_steps_ordered_still_count_as_written_and_as_trained(resumed: bool):
    world = World(small_config())
    curator = world.curator
    curator.start()
    attempt = curator.begin_attempt()
    while curator.ledger.closed_step < 40:
        world.write()
        world.train_step(attempt)
        if curator.ledger.closed_step == 20:
            state = pack_state(curator.training_state())
    written = {kind: each["written"] for kind, each in curator.facts()["children"].items()}
    if resumed:
        world.curator = Curator(world.config, world.events.append, clock=lambda: world.now)
        world.curator.restore_supply(list(world.events), world.written)
        world.curator.start()
    world.curator.restore_training(unpack_state(state))
    back = world.curator.facts()["children"]
    assert {kind: each["written"] for kind, each in back.items()} == written
    attempt = world.curator.begin_attempt()
    while world.curator.lease_rows(0, attempt, 0) is not None:
        world.train_step(attempt)  # the teacher writes nothing more
    after = world.curator.facts()["children"]
    assert all(each["trained"] <= each["written"] for each in after.values())
    assert sum(each["trained"] for each in after.values()) > sum(each["trained"] for each in back.values())
    assert all(steps >= 0 for _, _, steps, _ in world.curator.facts()["lags"])


def test_textbooks_read_again_among_the_exercises_are_no_exercises():
    world = World(small_config(train={"textbook_replay": 0.25}))
    world.run()
    tuning = [row for row in world.rows if row.phase == "exercises"]
    again = [row for row in tuning if row.items[0].exercise in world.curator.planner.books]
    assert len(tuning) == 120
    assert len(again) == 30
    assert world.curator.refused.counts == {}
    judged = {event["exercise"] for event in world.events if event["event"] == "verdict"}
    assert judged
    assert not judged & world.curator.planner.books


def test_a_resumed_run_has_no_more_planted_wrong_answers_than_before():
    world = World(small_config())
    world.curator.start()
    attempt = world.curator.begin_attempt()
    for _ in range(30):
        world.write()
        world.train_step(attempt)
    state = unpack_state(pack_state(world.curator.training_state()))
    planted = dict(world.curator.table.planted)
    assert len(planted) >= 4
    for checkpoint in (state, None):
        again = Curator(world.config, world.events.append)
        again.restore_supply(list(world.events), world.written)
        again.start()
        if checkpoint is None:
            again.plant_known()
            assert len(again.table.planted) == len(planted)
        else:
            again.restore_training(checkpoint)
            assert again.table.planted == planted
            assert again._rng.bit_generator.state == world.curator._rng.bit_generator.state


def test_a_run_rebuilt_from_its_journal_orders_nothing_twice():
    world = World(small_config())
    world.curator.start()
    attempt = world.curator.begin_attempt()
    for _ in range(40):
        world.write()
        world.train_step(attempt)
    lost = world.curator.lease_requests("r0", "1", 5)
    again = Curator(world.config, world.events.append)
    again.restore_supply(list(world.events), world.written)
    again.start()
    assert len(again.table) == len(world.curator.table)
    assert again.supply.graph == world.curator.supply.graph
    assert again.supply.book.unsettled == world.curator.supply.book.unsettled
    waiting = {a.request.id for a in again.lease_requests("r1", "1", 64)}
    assert {a.request.id for a in lost} <= waiting
    ids = [event["id"] for event in _requests(world)]
    assert len(ids) == len(set(ids))


def test_accepting_twice_counts_once():
    world = World(small_config())
    world.curator.start()
    assignments = world.curator.lease_requests("r0", "1", 4)
    rows = [numbers_for(assignment, place) for place, assignment in enumerate(assignments)]
    world.curator.accept(0, rows)
    world.curator.accept(0, rows)
    assert world.curator.supply.written[Kind.PREREQUISITES] == 1


def _requests(world):
    return [event for event in world.events if event["event"] == "request"]


def test_ranks_come_and_go_between_attempts():
    world = World(small_config())
    world.curator.start()
    attempt, seen = world.curator.begin_attempt(), 0
    for ranks in (3, 1, 2):
        while world.curator.ledger.closed_step < seen + 12:
            world.write()
            world.train_step(attempt)
        seen = world.curator.ledger.closed_step
        state = unpack_state(pack_state(world.curator.training_state()))
        last, before = world.curator.ledger.ranks - 1, attempt
        world.curator.lease_rows(last, attempt, 4)  # lost with its rank
        world.curator.resize(ranks)
        world.curator.restore_training(state)
        attempt = world.curator.begin_attempt()
        assert world.curator.lease_rows(last, before, 1) is None  # a reader that outlived it
    while world.curator.lease_rows(0, attempt, 0) is not None:
        world.write()
        world.train_step(attempt)
    rows = Counter(row.step for row in world.rows)
    assert sorted(rows) == list(range(1, world.curator.planner.total_steps + 1))
    assert [rows[step] for step in (1, 12, 13, 24, 25, 36, 37, max(rows))] == [2, 2, 3, 3, 1, 1, 2, 2]


def test_a_checkpoint_goes_on_with_another_number_of_ranks():
    world = World(small_config())
    world.curator.start()
    attempt = world.curator.begin_attempt()
    while world.curator.ledger.closed_step < world.curator.planner.textbook_steps + 20:
        world.write()
        world.train_step(attempt)
    closed = world.curator.ledger.closed_step
    state = unpack_state(pack_state(world.curator.training_state()))

    wider = World(small_config(train={"ranks": 3, "rows_per_step": 1, "slots": 4, "row_tokens": 128, "steps": 60}))
    wider.curator.restore_supply(world.events, world.written)
    wider.curator.start()
    wider.curator.restore_training(state)
    attempt = wider.curator.begin_attempt()
    while wider.curator.lease_rows(0, attempt, 0) is not None:
        wider.write()
        wider.train_step(attempt)
    steps = sorted({row.step for row in wider.rows})
    assert steps == list(range(closed + 1, wider.curator.planner.total_steps + 1))
    assert sum(row.phase == "exercises" for row in wider.rows) == 3 * 40
    visits = Counter()
    for row in (*[row for row in world.rows if row.step <= closed], *wider.rows):
        if row.phase == "exercises":
            visits.update(item.exercise for item in row.items)
    assert max(visits.values()) <= world.config.dynamics.cap
    assert all(wider.curator.sampler.visits(exercise) == count for exercise, count in visits.items())


def test_children_are_written_from_an_exercise_as_it_was_written_and_it_is_trained_on_with_the_answer_voted_for(
    monkeypatch: pytest.MonkeyPatch,
):
    def voting(assignment: Assignment, place: int) -> dict[str, Any]:
        row = numbers_for(assignment, place)
        if assignment.request.kind is Kind.ANSWER:
            row["answer_hash"] = assignment.request.parents[0] % 3  # all voters agree, and seldom with the exercise
        return row

    monkeypatch.setattr(simulation, "numbers_for", voting)
    world = World(small_config(generate={"checks": {"votes": 3, "agreement": 0.6}}))
    asked: list[Assignment] = []
    write = world.write
    monkeypatch.setattr(world, "write", lambda: asked.extend(write()))
    world.run()
    place = {row["id"]: TextRef(segment=segment, row=row["row"]) for segment, row in world.written}
    children = [each for each in asked if each.request.kind in CHILD_KINDS]
    assert len(children) > 10
    for child in children:
        assert child.parents == tuple(place[parent] for parent in child.request.parents)
    trained = {item.exercise: item.answer for row in world.rows for item in row.items if row.phase == "exercises"}
    anew = {exercise for exercise, ref in trained.items() if exercise in place and ref != place[exercise]}
    assert anew & {parent for child in children for parent in child.request.parents}
