import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.dynamics import number_set
from dsa_ray.dynamics.number_set import NumberSet

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9), max_size=60)


@given(first=NUMBERS, added=NUMBERS, asked=NUMBERS, merge=st.integers(1, 9))
def test_it_says_what_a_set_would_say(first, added, asked, merge):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(number_set, "_MERGE", merge)
        numbers = NumberSet(first)
        for number in added:
            numbers.add(number)
        expected = {*first, *added}
        assert [number in numbers for number in (*asked, *added)] == [number in expected for number in (*asked, *added)]
        assert len(numbers) == len(expected)
        assert numbers.array().tolist() == sorted(expected)
        again = NumberSet(numbers.array())
        assert [number in again for number in asked] == [number in expected for number in asked]


def test_what_it_gives_is_a_copy():
    numbers = NumberSet([3, 1])
    numbers.array()[:] = 0
    assert numbers.array().tolist() == [1, 3]
    given = np.array([5, 5, 4])
    assert NumberSet(given).array().tolist() == [4, 5]
    assert given.tolist() == [5, 5, 4]
