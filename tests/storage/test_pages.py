import platform

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.storage import pages
from dsa_ray.storage.pages import give_back, grown, inserted, zeros

MIB = 2**20


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("shape", [0, 5, 100_000, (3, 2), (50_000, 2)])
@pytest.mark.parametrize("dtype", ["i1", "i4", "f8", "?"])
def test_zeros_are_as_numpys(shape, dtype):
    made, expected = zeros(shape, dtype), np.zeros(shape, dtype)
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    assert np.array_equal(made, expected)
    made[...] = 1  # and may be written to
    assert made.all()


def test_memory_is_taken_by_what_is_written_and_given_back():
    before = resident()
    held = zeros(256 * MIB, "i1")
    held[: 64 * MIB] = 1
    larger = grown(held, 512 * MIB)
    assert larger[: 64 * MIB].all()
    assert not larger[64 * MIB : 66 * MIB].any()
    del held
    taken = resident() - before
    del larger
    left = resident() - before
    assert 200 * MIB < taken < 300 * MIB  # the copy reads and writes all that the smaller one had room for
    assert left < 16 * MIB


@given(data=st.data(), large=st.booleans())
def test_inserted_is_numpys_insert(data, large):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_LARGE", 1 if large else 1 << 16)
        array = np.array(data.draw(st.lists(st.integers(-9, 9), max_size=20)), "i8")
        values = np.array(data.draw(st.lists(st.integers(-9, 9), max_size=20)), "i8")
        places = np.sort(np.array([data.draw(st.integers(0, len(array))) for _ in values], "i8"))
        merged = inserted(array, places, values)
        assert merged.tolist() == np.insert(array, places, values).tolist()
        assert merged.dtype == array.dtype


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc can be told to")
def test_what_was_freed_between_what_is_kept_is_given_back():
    things = [bytearray(2000) for _ in range(50_000)]
    kept = things[::40]  # no page at the end of the heap is free, so that malloc keeps all
    del things
    before = resident()
    give_back()
    given = before - resident()
    assert len(kept) == 1250
    assert given > 30 * MIB
