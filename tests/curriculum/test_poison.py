"""One prompt that kills whatever serves it takes nothing else along."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.requests import RequestBook
from dsa_ray.records import Kind, Order


def book(count: int) -> RequestBook:
    made = RequestBook(slots=256, attempts=3, timeout_s=1e9, seed=0)
    for _ in range(count):
        made.mint(Order(kind=Kind.EXERCISE, skills=("a",), difficulty=1, parents=()))
    return made


def drive(made: RequestBook, poison: set[int], replicas: int, in_flight: int) -> tuple[list[int], set[int], int]:
    """Replicas work, and die with a poison prompt in flight. Returns (written, closed, deaths)."""
    incarnations = [0] * replicas
    held: list[dict[int, int]] = [{} for _ in range(replicas)]
    written: list[int] = []
    closed: set[int] = set()
    deaths = 0
    for turn in range(10_000):
        at = turn % replicas
        given = made.lease(f"teacher-{at}", str(incarnations[at]), in_flight - len(held[at]), float(turn))
        held[at] |= {request.id: request.attempt for request in given}
        closed |= {request.id for request in made.take_poison()}
        if poison & held[at].keys():
            incarnations[at], held[at], deaths = incarnations[at] + 1, {}, deaths + 1
        else:
            for number in list(held[at])[: in_flight // 2 + 1]:
                del held[at][number]
                assert made.settle(number) is not None
                written.append(number)
        if not made.unsettled:
            return written, closed, deaths
    raise AssertionError(f"not settled: {made.queue_depth} wait, {made.outstanding} are out")


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_a_poison_prompt_is_closed_after_three_deaths_and_everything_else_is_written(replicas: int) -> None:
    written, closed, deaths = drive(book(200), {57}, replicas, in_flight=32)
    assert closed == {57}
    assert sorted(written) == [number for number in range(1, 201) if number != 57]
    assert deaths == 3


@given(st.integers(1, 60), st.sets(st.integers(1, 60), max_size=4), st.integers(1, 3), st.integers(1, 16))
def test_several_poison_prompts_cost_a_few_deaths_each_and_nothing_else(
    count: int, poison: set[int], replicas: int, in_flight: int
) -> None:
    poison = {number for number in poison if number <= count}
    written, closed, deaths = drive(book(count), poison, replicas, in_flight)
    assert closed == poison
    assert sorted([*written, *closed]) == list(range(1, count + 1))
    assert deaths <= 3 * len(poison)


def test_a_request_that_met_two_unlucky_deaths_goes_out_alone_and_is_written() -> None:
    made = book(3)
    for incarnation in ("a", "b"):
        assert len(made.lease("teacher-0", incarnation, 3, 0.0)) == 3
    alone = made.lease("teacher-0", "c", 3, 0.0)
    assert len(alone) == 1
    assert made.lease("teacher-0", "c", 2, 0.0) == []
    assert made.settle(alone[0].id) is not None
    assert len(made.lease("teacher-0", "c", 3, 0.0)) == 1


def test_what_a_replica_held_that_is_replaced_for_garbage_goes_out_again_and_is_not_suspect() -> None:
    made = book(8)
    for incarnation in range(4):
        held = made.lease("teacher-0", str(incarnation), 8, 0.0)
        assert len(held) == 8
        assert {request.attempt for request in held} == {incarnation}
        assert made.take_back("teacher-0", incarnation) == 8
        assert made.take_back("teacher-0", incarnation) == 0
    assert made.take_poison() == []


def test_a_spared_request_goes_out_once_more_after_its_last_attempt() -> None:
    made = book(1)
    for attempt in range(3):
        (request,) = made.lease("teacher-0", "0", 1, 0.0)
        assert request.attempt == attempt
        assert made.fail(request.id, attempt, spare=attempt == 2) == (request, False)
    (request,) = made.lease("teacher-0", "0", 1, 0.0)
    assert made.fail(request.id, 3) == (request, True)
