import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.dynamics.index import NOWHERE, DenseIndex


@given(st.dictionaries(st.integers(0, 5000), st.integers(0, 2**31 - 2), max_size=40), st.lists(st.integers(-9, 6000)))
def test_it_says_what_a_dict_would_say(places: dict[int, int], asked: list[int]):
    index = DenseIndex()
    for id, place in places.items():
        index.put_one(id, place)
    expected = [places.get(id, NOWHERE) for id in asked]
    assert [index.get(id) for id in asked] == expected
    assert index.many(np.array(asked, "i8")).tolist() == expected
    assert [id in index for id in asked] == [id in places for id in asked]


def test_an_id_that_was_never_minted_is_refused():
    index = DenseIndex()
    for ids in ([-1], [2**31], [5, 2**40]):
        with pytest.raises(ValueError, match="was not minted"):
            index.put(np.array(ids, "i8"), 0)
    for id in (-1, 2**31):
        with pytest.raises(ValueError, match="was not minted"):
            index.put_one(id, 0)
    assert index.nbytes < 10_000
