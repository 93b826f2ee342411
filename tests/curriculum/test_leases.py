from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.leases import LeaseLedger, plain_row, row_plan
from dsa_ray.records import PackedItem, RowPlan, TextRef

REF = TextRef(segment=0, row=0)


def row(lease: int, rank: int, step: int) -> RowPlan:
    item = PackedItem(exercise=lease, prompt=REF, answer=REF, tokens=4, loss_tokens=2, visit=1)
    return RowPlan(
        lease=lease, rank=rank, attempt=0, step=step, phase="exercises", progress=0.5, denominator=2.0, items=(item,)
    )


def ledger_with(steps: int, ranks: int = 2, slots: int = 8) -> LeaseLedger:
    ledger = LeaseLedger(ranks, rows_per_step=1, slots=slots)
    ledger.begin_attempt()
    for step in range(1, steps + 1):
        ledger.add_step([row(ledger.next_lease + rank, rank, step) for rank in range(ranks)])
    return ledger


def test_the_plain_form_of_a_row_is_that_of_dataclasses():
    assert plain_row(row(3, 1, 2)) == asdict(row(3, 1, 2))
    assert row_plan(plain_row(row(3, 1, 2))) == row(3, 1, 2)


def test_a_step_closes_when_every_rank_has_reported_it():
    ledger = ledger_with(1)
    first, second = ledger.give(0, 1, 1), ledger.give(1, 1, 1)
    assert ledger.report(0, 1, 1, [first[0].lease])
    assert ledger.closable() is None
    assert ledger.report(1, 1, 1, [second[0].lease])
    assert ledger.closable() == 1
    assert ledger.closable() is None


def test_slots_bound_what_a_rank_may_be_ahead():
    ledger = ledger_with(3, slots=3)
    assert not ledger.has_room
    for rank in (0, 1):
        (given,) = ledger.give(rank, 1, 1)
        assert not ledger.has_room  # given out is not yet trained
        ledger.report(rank, 1, 1, [given.lease])
    assert ledger.has_room


def test_a_repeated_or_stale_report_does_not_count():
    ledger = ledger_with(1)
    (given,) = ledger.give(0, 1, 1)
    assert ledger.report(0, 1, 1, [given.lease])
    assert not ledger.report(0, 1, 1, [given.lease])
    ledger.begin_attempt()
    assert ledger.give(0, 1, 1) == []


def test_a_plan_survives_its_plain_form():
    plan = row(3, 1, 2)
    assert row_plan(asdict(plan)) == plan


@given(st.lists(st.sampled_from(["give0", "give1", "report0", "report1", "restart", "restore"]), max_size=60))
def test_every_row_is_trained_once_in_order_whatever_dies(actions: list[str]):
    """Rows that were reported are never given again; all others come, in order, to the newest attempt."""
    ledger = ledger_with(6)
    held: dict[int, list[RowPlan]] = {0: [], 1: []}
    trained: dict[int, list[int]] = {0: [], 1: []}
    for action in actions:
        if action in ("restart", "restore"):
            if action == "restore":
                ledger.load_state_dict(ledger.state_dict())
            ledger.begin_attempt()
            held = {0: [], 1: []}
            continue
        rank = int(action[-1])
        if action.startswith("give"):
            held[rank] += ledger.give(rank, ledger.attempt, 2)
        elif held[rank]:
            plan = held[rank].pop(0)
            if ledger.report(rank, ledger.attempt, plan.step, [plan.lease]):
                trained[rank].append(plan.step)
    for rank in (0, 1):
        assert trained[rank] == list(range(1, len(trained[rank]) + 1))
    assert ledger.open_rows == 12 - len(trained[0]) - len(trained[1])
