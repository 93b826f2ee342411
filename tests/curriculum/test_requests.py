from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.requests import ELSEWHERE_S, THERE_S, RequestBook
from dsa_ray.records import ExerciseRequest, Kind, Order


def order(kind: Kind = Kind.EXERCISE) -> Order:
    return Order(kind=kind, skills=("a",), difficulty=1, parents=())


def book(slots: int = 8, attempts: int = 2, timeout_s: float = 10.0) -> RequestBook:
    return RequestBook(slots, attempts, timeout_s, seed=0)


def test_what_a_verdict_ordered_goes_first():
    requests = book()
    requests.mint(order())
    child = requests.mint(order(Kind.VARIANT), cause=(5, 0))
    assert requests.lease("r", "1", 1, now=0)[0].id == child.id


def test_reviews_go_first_then_the_newest_child_then_the_rest_in_order():
    requests = book()
    kinds = [Kind.EXERCISE, Kind.EXERCISE, Kind.VARIANT, Kind.HARDER, Kind.ANSWER, Kind.ANSWER]
    for number, kind in enumerate(kinds):
        requests.mint(order(kind), cause=(number, 0) if kind in (Kind.VARIANT, Kind.HARDER) else None)
    assert [request.id for request in requests.lease("r", "1", 8, now=0)] == [5, 6, 4, 3, 1, 2]


def test_a_child_that_is_tried_again_goes_before_other_children():
    requests = book()
    for number in range(3):
        requests.mint(order(Kind.VARIANT), cause=(number, 0))
    (first,) = requests.lease("r", "1", 1, now=0)
    assert requests.fail(first.id, first.attempt) == (first, False)
    assert [request.id for request in requests.lease("r", "1", 2, now=1)] == [first.id, 2]


def test_no_more_than_the_slots_are_out():
    requests = book(slots=3)
    for _ in range(5):
        requests.mint(order())
    assert len(requests.lease("r", "1", 10, now=0)) == 3
    assert requests.lease("s", "1", 10, now=0) == []
    requests.settle(1)
    assert len(requests.lease("s", "1", 10, now=0)) == 1


def test_a_cause_orders_its_nth_child_once():
    requests = book()
    assert requests.mint(order(Kind.VARIANT), cause=(5, 0)) is not None
    assert requests.mint(order(Kind.VARIANT), cause=(5, 0)) is None
    assert requests.mint(order(Kind.VARIANT), cause=(5, 0), nth=1) is not None
    assert requests.mint(order(Kind.VARIANT), cause=(5, 1)) is not None


def test_what_a_dead_incarnation_held_is_given_out_again_with_another_seed():
    requests = book()
    requests.mint(order())
    first = requests.lease("r", "1", 1, now=0)[0]
    second = requests.lease("r", "2", 1, now=1)[0]
    assert (second.id, second.attempt) == (first.id, 1)
    assert second.seed != first.seed


def test_an_overdue_request_goes_to_another_replica_and_the_late_text_still_counts():
    requests = book(timeout_s=10)
    requests.mint(order())
    requests.lease("slow", "1", 1, now=0)
    assert requests.lease("quick", "1", 1, now=9) == []
    assert requests.lease("quick", "1", 1, now=11)[0].attempt == 1
    assert requests.settle(1).id == 1
    assert requests.settle(1) is None
    assert requests.unsettled == 0


def test_a_failed_attempt_is_repeated_and_the_last_one_is_final():
    requests = book(attempts=2)
    requests.mint(order(Kind.TEXTBOOK))
    requests.lease("r", "1", 1, now=0)
    assert requests.fail(1, attempt=0)[1] is False
    assert requests.fail(1, attempt=0) is None  # told twice
    requests.lease("r", "1", 1, now=0)
    assert requests.unsettled_of(Kind.TEXTBOOK) == 1
    assert requests.fail(1, attempt=1)[1] is True
    assert requests.unsettled_of(Kind.TEXTBOOK) == 0


def unread(requests: RequestBook, replica: str, now: float) -> None:
    """This replica is given a request, the first, and answers it with garbage."""
    (request,) = requests.lease(replica, "1", 1, now)
    assert requests.fail(request.id, request.attempt, unread=True) == (request, False)


def test_what_could_not_be_read_is_tried_by_another_replica_that_is_there():
    requests = book()
    requests.mint(order())
    assert requests.lease("other", "1", 0, now=0) == []
    unread(requests, "broken", now=1)
    requests.mint(order())
    assert [request.id for request in requests.lease("broken", "1", 8, now=2)] == [2]
    assert [request.id for request in requests.lease("other", "1", 8, now=2)] == [1]


def test_a_busy_replica_is_waited_for_but_not_for_long():
    requests = book(timeout_s=1000)
    requests.mint(order())
    assert len(requests.lease("busy", "1", 1, now=0)) == 1
    requests.mint(order())
    unread(requests, "broken", now=60)
    assert requests.lease("broken", "1", 8, now=60 + ELSEWHERE_S - 1) == []
    assert len(requests.lease("broken", "1", 8, now=60 + ELSEWHERE_S)) == 1


def test_the_last_attempt_waits_for_a_replica_that_is_to_come():
    requests = RequestBook(8, 3, 1000, seed=0, replicas=lambda teacher: 2)
    requests.mint(order())
    unread(requests, "broken", now=0)
    unread(requests, "broken", now=1)
    assert requests.lease("broken", "1", 8, now=ELSEWHERE_S) == []
    assert requests.lease("late", "1", 8, now=ELSEWHERE_S)[0].attempt == 2


def test_nobody_is_waited_for_where_no_other_is_there():
    requests = book()
    assert requests.lease("gone", "1", 8, now=0) == []
    assert requests.lease("of another teacher", "1", 8, now=THERE_S, teacher=1) == []
    requests.mint(order())
    unread(requests, "alone", now=THERE_S)
    assert requests.lease("alone", "1", 8, now=THERE_S) == []
    assert len(requests.lease("alone", "1", 8, now=THERE_S + 1)) == 1


def test_a_restored_book_continues_ids_causes_and_what_was_open():
    old = [
        ExerciseRequest(id=1, kind=Kind.EXERCISE, skills=("a",)),
        ExerciseRequest(id=2, kind=Kind.VARIANT, skills=("a",), parents=(1,), cause=(1, 0)),
        ExerciseRequest(id=7, kind=Kind.EXERCISE, skills=("b",)),
    ]
    requests = book()
    requests.restore(old, settled={1})
    assert [request.id for request in requests.lease("r", "1", 8, now=0)] == [2, 7]
    assert requests.mint(order(Kind.VARIANT), cause=(1, 0)) is None
    assert requests.mint(order()).id == 8


@given(st.lists(st.tuples(st.sampled_from(["mint", "lease", "settle", "fail", "die"]), st.integers(0, 9)), max_size=60))
def test_every_request_is_always_in_one_place(steps: list[tuple[str, int]]):
    """Queued, leased or settled: never lost, never twice, whatever happens in whatever order."""
    requests = book(slots=4, attempts=3, timeout_s=1000)
    incarnation, settled, final = 0, set(), set()
    held: dict[int, int] = {}
    for turn, (action, number) in enumerate(steps):
        if action == "mint":
            requests.mint(order())
        elif action == "lease":
            for request in requests.lease(f"r-{number % 2}", str(incarnation), number, now=turn):
                assert request.id not in settled | final
                held[request.id] = request.attempt
        elif action == "settle" and requests.settle(number) is not None:
            settled.add(number)
        elif (
            action == "fail"
            and (outcome := requests.fail(number, held.get(number, -1), unread=turn % 2 > 0))
            and outcome[1]
        ):
            final.add(number)
        elif action == "die":
            incarnation += 1
        final.update(request.id for request in requests.take_poison())
        assert not settled & final
        assert requests.unsettled == requests.next_id - 1 - len(settled) - len(final)
        assert requests.unsettled == requests.unsettled_of(Kind.EXERCISE)
        assert requests.outstanding <= 4
