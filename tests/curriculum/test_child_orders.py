from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.child_orders import ChildOrder, ChildOrders
from dsa_ray.records import CHILD_KINDS, ExerciseRequest, Kind

IDS = st.integers(0, 2**31 - 1)
REQUESTS = st.builds(
    ExerciseRequest,
    id=IDS,
    kind=st.sampled_from(sorted(CHILD_KINDS)),
    skills=st.just(("limits",)),
    parents=st.lists(IDS, max_size=3).map(tuple),
    cause=st.none() | st.tuples(IDS, st.integers(0, 10_000)),
)


@given(st.lists(REQUESTS, max_size=20), st.lists(REQUESTS, max_size=20))
def test_what_a_verdict_caused_comes_back_in_order(before, then):
    orders = ChildOrders(before)
    for request in then:
        orders.add(request)
    expected = [(r.id, r.kind, r.cause, r.parents) for r in (*before, *then) if r.cause is not None]
    assert list(orders) == expected == list(orders)  # and it may be gone through again


def test_a_request_that_nothing_caused_is_no_child():
    asked = ExerciseRequest(id=1, kind=Kind.EXERCISE, skills=("limits",))
    caused = ExerciseRequest(id=2, kind=Kind.VARIANT, skills=("limits",), parents=(1,), cause=(1, 0))
    assert list(ChildOrders([asked, caused])) == [ChildOrder(2, Kind.VARIANT, (1, 0), (1,))]
