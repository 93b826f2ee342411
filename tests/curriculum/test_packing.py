import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.curriculum.packing import pack_step, split_long, split_text

LENGTHS = st.lists(st.integers(1, 100), max_size=60).map(np.array)


def fill(lengths: np.ndarray, packed: list[list[int]], row_tokens: int) -> float:
    return sum(int(lengths[index]) for row in packed for index in row) / (row_tokens * len(packed))


@settings(deadline=None)
@given(lengths=LENGTHS, rows=st.integers(1, 6), look_ahead=st.integers(0, 20))
def test_rows_hold_what_fits_and_nothing_twice(lengths, rows, look_ahead):
    packed = pack_step(lengths, 100, rows, look_ahead)
    assert len(packed) == rows
    assert all(sum(int(lengths[index]) for index in row) <= 100 for row in packed)
    flat = [index for row in packed for index in row]
    assert len(flat) == len(set(flat))


@settings(deadline=None)
@given(lengths=LENGTHS, rows=st.integers(1, 6), look_ahead=st.integers(0, 20))
def test_the_first_candidates_are_always_taken_and_look_ahead_is_bounded(lengths, rows, look_ahead):
    taken = {index for row in pack_step(lengths, 100, rows, look_ahead) for index in row}
    assert set(range(min(rows, len(lengths)))) <= taken
    first_left = next((k for k in range(len(lengths)) if k not in taken), len(lengths))
    assert all(index < first_left + look_ahead for index in taken)


@settings(deadline=None)
@given(lengths=LENGTHS, rows=st.integers(1, 6))
def test_one_left_over_fits_into_no_row(lengths, rows):
    packed = pack_step(lengths, 100, rows)
    taken = {index for row in packed for index in row}
    left = [int(lengths[k]) for k in range(len(lengths)) if k not in taken]
    gaps = [100 - sum(int(lengths[index]) for index in row) for row in packed]
    assert not left or min(left) > max(gaps)


@pytest.mark.parametrize("rows", [2, 8, 64])
@pytest.mark.parametrize(("shortest", "longest"), [(20, 100), (10, 380)])
def test_rows_are_full_where_short_ones_abound(rows, shortest, longest):
    generator = np.random.default_rng(0)
    for _ in range(10):
        lengths = generator.integers(shortest, longest + 1, 2000)
        assert fill(lengths, pack_step(lengths, 512, rows), 512) > 0.95


def test_no_candidate_is_passed_over_for_long_while_steps_go_on():
    generator = np.random.default_rng(1)
    queue = [(int(length), 0) for length in generator.integers(20, 380, 500)]  # (length, age in steps)
    for _ in range(200):
        taken = {index for row in pack_step(np.array([q[0] for q in queue]), 512, 4) for index in row}
        queue = [(length, age + 1) for k, (length, age) in enumerate(queue) if k not in taken]
        queue += [(int(length), 0) for length in generator.integers(20, 380, 500 - len(queue))]
        assert max(age for _, age in queue) <= 500 / 4 + 1


def test_few_candidates_are_shared_out_evenly():
    packed = pack_step(np.array([30, 30, 30, 30, 10]), 100, 4)
    assert sorted(len(row) for row in packed) == [1, 1, 1, 2]


def test_without_candidates_rows_are_empty():
    assert pack_step(np.array([], int), 100, 2) == [[], []]


def test_a_gap_gets_the_longest_that_fits_and_of_equals_the_earliest():
    assert pack_step(np.array([70, 90, 10, 20, 30, 30]), 100, 1) == [[0, 4]]


def test_planning_is_deterministic():
    lengths = np.random.default_rng(2).integers(5, 300, 400)
    assert pack_step(lengths, 512, 8) == pack_step(lengths.copy(), 512, 8)


@pytest.mark.parametrize("bad", [0, 101, -3])
def test_a_candidate_that_fits_no_row_is_refused(bad):
    with pytest.raises(ValueError, match="candidate 1 has"):
        pack_step(np.array([5, bad]), 100, 2)


@given(tokens=st.integers(1, 5000), row_tokens=st.integers(16, 600))
def test_chunks_cover_a_text_once(tokens, row_tokens):
    chunks = split_long(tokens, row_tokens)
    assert [offset for offset, _ in chunks] == [sum(length for _, length in chunks[:k]) for k in range(len(chunks))]
    assert sum(length for _, length in chunks) == tokens
    assert all(1 <= length <= row_tokens for _, length in chunks)
    assert len(chunks) == -(-tokens // row_tokens)
    assert len(chunks) == 1 or chunks[-1][1] >= row_tokens // 8


def test_a_short_tail_takes_from_the_chunk_before_it():
    assert split_long(512, 512) == [(0, 512)]
    assert split_long(513, 512) == [(0, 449), (449, 64)]
    assert split_long(1400, 512) == [(0, 512), (512, 512), (1024, 376)]


@given(tokens=st.integers(1, 900), room=st.integers(0, 100), row_tokens=st.just(100))
def test_a_text_cut_to_fill_a_row_stays_whole_and_no_part_is_short(tokens: int, room: int, row_tokens: int) -> None:
    chunks = split_text(tokens, room, row_tokens)
    assert [offset for offset, _ in chunks] == [sum(length for _, length in chunks[:i]) for i in range(len(chunks))]
    assert sum(length for _, length in chunks) == tokens
    assert all(length <= row_tokens for _, length in chunks)
    if len(chunks) > 1:
        assert min(length for _, length in chunks) >= 12
