import pytest

from dsa_ray.curriculum.progress import Children
from dsa_ray.records import Kind
from dsa_ray.storage.state import pack_state, unpack_state


def trained() -> Children:
    """Three children: one trained on after 4 steps, one after 9, one waited for."""
    children = Children()
    for child, kind in ((11, Kind.VARIANT), (12, Kind.HARDER), (13, Kind.COMPOSED)):
        children.ordered(child, kind, step=10, now=100.0)
    children.observed([1, 11], step=14, now=102.0)
    children.observed([12, 11], step=19, now=105.5)
    return children


def test_the_first_trained_step_of_a_child_is_what_counts():
    children = trained()
    assert children.lags() == [(11, "variant", 4, 2.0), (12, "harder", 9, 5.5)]
    assert children.facts()["variant"] == {"written": 0, "trained": 1}
    assert children.lag_quantiles()["feedback_lag_steps"] == {"p50": 6.5, "p95": 8.75}
    assert children.lag_quantiles(last=1)["feedback_lag_s"] == {"p50": 5.5, "p95": 5.5}


def test_without_a_trained_child_there_is_no_lag():
    children = Children()
    children.ordered(11, Kind.VARIANT, step=10, now=100.0)
    assert children.lags() == []
    assert children.lag_quantiles() == {}


def test_a_state_comes_back_and_what_waits_counts_from_now():
    again = Children()
    again.load_state_dict(unpack_state(pack_state(trained().state_dict())), now=7.0)
    assert again.lags() == trained().lags()
    known = [(12, Kind.HARDER), (13, Kind.COMPOSED), (14, Kind.VARIANT)]  # trained on, waited for, and neither
    again.recall(known, step=30, now=50.0)
    again.observed([12, 13, 14], step=31, now=60.0)
    assert again.lags()[2:] == [(13, "composed", 21, 53.0), (14, "variant", 1, 10.0)]


def test_the_state_of_an_earlier_release_is_read():
    again = Children()
    lags = [[11, "variant", 4, 2.0], [12, "harder", 9, 5.5]]
    ordered = [[11, "variant", 10], [12, "harder", 10], [13, "composed", 10]]
    counts = {"composed": 0, "easier": 0, "harder": 1, "variant": 1}
    written = {"trained": counts, "lags": lags, "ordered": ordered, "first_trained": [11, 12]}
    again.load_state_dict(unpack_state(pack_state(written)), now=7.0)
    assert again.lags() == trained().lags()
    again.observed([11, 13], step=31, now=60.0)
    assert again.lags()[2:] == [(13, "composed", 21, 53.0)]


@pytest.mark.parametrize("written", [(), (Kind.EASIER, Kind.EASIER)])
def test_what_is_written_is_counted_by_kind(written):
    children = Children()
    for kind in written:
        children.was_written(kind)
    assert children.facts()["easier"]["written"] == len(written)
