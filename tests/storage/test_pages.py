import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.storage import pages
from dsa_ray.storage.pages import distinct, give_back, grown, inserted, keep_little, reaching, zeros

MIB = 2**20


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


NUMBERS = st.lists(st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)), max_size=30)


@given(st.lists(NUMBERS, max_size=4))
def test_distinct_numbers_are_those_of_all_arrays_once_and_rising(lists: list[list[int]]) -> None:
    arrays = [np.array(numbers, np.int64) for numbers in lists]
    made = distinct(*arrays)
    assert made.dtype == np.int64
    assert made.tolist() == sorted({number for numbers in lists for number in numbers})


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


def test_an_array_grows_when_it_has_to_and_doubles_at_least():
    array = np.arange(4, dtype="i4")
    assert reaching(array, 3) is array
    assert reaching(array, 4).tolist() == [0, 1, 2, 3, 0, 0, 0, 0]
    assert len(reaching(array, 40)) == 41


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc can be told to")
@pytest.mark.parametrize("little", [False, True])
def test_a_process_that_keeps_little_gives_back_what_lay_between_what_it_keeps(little: bool):
    """In a process of its own, since it holds for the whole of one."""
    code = f"from tests.storage.test_pages import held_after_growing; held_after_growing({little})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    held = int(result.stdout)
    assert held < MIB if little else held > 4 * MIB


def held_after_growing(little: bool) -> None:
    """Print what stays of arrays that were freed while small things were made after them."""
    if little:
        keep_little()
    np.zeros(16 * MIB, "i1")[:] = 1  # freed: from now on malloc would keep what is smaller, unless told
    before, kept = resident(), []
    for size in range(1, 60):
        array = np.ones(size * 128 * 1024, "i1")
        kept.append(bytearray(4000))
        del array
    print(resident() - before)
