import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.storage.state import pack_state, unpack_state

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), PLAIN, max_size=4))
def test_plain_values_come_back_equal(tree: dict):
    assert unpack_state(pack_state(tree)) == tree


def test_arrays_come_back_with_their_types_wherever_they_stand():
    tree = {
        "a": np.arange(3, dtype=np.int16),
        "b": {"c": {"d": np.array(2.5)}, "e": [1, "x"]},
        "empty": np.empty((0, 2)),
    }
    back = unpack_state(pack_state(tree))
    assert back["a"].dtype == np.int16
    assert back["a"].tolist() == [0, 1, 2]
    assert float(back["b"]["c"]["d"]) == 2.5
    assert back["b"]["e"] == [1, "x"]
    assert back["empty"].shape == (0, 2)


def test_a_key_that_would_be_read_as_a_path_is_refused():
    with pytest.raises(ValueError, match="a/b"):
        pack_state({"a/b": 1})


def test_an_array_of_objects_is_not_unpickled():
    with pytest.raises(ValueError, match="pickle"):
        unpack_state(pack_state({"a": np.array([{}], dtype=object)}))
