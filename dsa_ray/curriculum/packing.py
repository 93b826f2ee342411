"""Which examples share a packed row. Pure planning on token counts; texts are fetched later."""

from __future__ import annotations

import heapq
from bisect import bisect_right

import numpy as np

_SHORTEST_TAIL = 8
"""The last chunk of a split text holds at least this fraction (one over so many) of a row."""


def pack_step(tokens: np.ndarray, row_tokens: int, rows: int, look_ahead: int = 256) -> list[list[int]]:
    """Choose the examples of one step's rows from candidates in priority order.

    In order, each example goes into the emptiest row, until one fits in none. The gaps that are left then get the
    longest examples that fit, out of that one's next `look_ahead` followers (ties: the earlier one). With short
    examples among them, rows are 95 % full or better; with few candidates, all rows get about equally much.

    An example may be passed over, but at least the first `rows` candidates are always taken: one at position p is
    taken after at most p / rows + 1 steps if nothing is put before it.

    Args:
        tokens: length of each candidate, int [candidates], 1..row_tokens.
        row_tokens: length of a row.
        rows: rows in the step, over all ranks.

    Returns:
        Per row, the indices into `tokens` in the order they were placed; empty rows where candidates are too few.

    Raises:
        ValueError: a candidate that is empty or longer than a row.
    """
    lengths = _checked(tokens, row_tokens)
    packed: list[list[int]] = [[] for _ in range(rows)]
    gaps = [(-row_tokens, row) for row in range(rows)]
    placed = 0
    while gaps and placed < len(lengths) and lengths[placed] <= -gaps[0][0]:
        gap, row = gaps[0]
        heapq.heapreplace(gaps, (gap + lengths[placed], row))
        packed[row].append(placed)
        placed += 1
    # (length, -index): the last that is not too long is the longest, and the earliest among equals
    followers = sorted((lengths[index], -index) for index in range(placed, min(placed + look_ahead, len(lengths))))
    for gap, row in sorted(gaps):
        packed[row] += _fill(-gap, followers)
    return packed


def _fill(gap: int, followers: list[tuple[int, int]]) -> list[int]:
    """Take the longest that fit, one after another, out of sorted (length, -index)."""
    taken = []
    while (end := bisect_right(followers, (gap, 0))) > 0:
        length, negative = followers.pop(end - 1)
        gap -= length
        taken.append(-negative)
    return taken


def split_long(tokens: int, row_tokens: int) -> list[tuple[int, int]]:
    """Chunks (offset, length) of a text, in order and without overlap; one chunk if it fits into a row.

    All but the last two are whole rows. The last holds at least an eighth of a row, since a chunk's first token is
    never predicted and its first words have no context.
    """
    chunks = [(offset, min(row_tokens, tokens - offset)) for offset in range(0, tokens, row_tokens)]
    missing = max(2, row_tokens // _SHORTEST_TAIL) - chunks[-1][1] if len(chunks) > 1 else 0
    if missing > 0:
        (before, length), (last, tail) = chunks[-2:]
        chunks[-2:] = [(before, length - missing), (last - missing, tail + missing)]
    return chunks


def split_text(tokens: int, room: int, row_tokens: int) -> list[tuple[int, int]]:
    """Chunks (offset, length) of a text whose first part may fill the `room` that is left in a row.

    It is cut there only if both parts hold at least an eighth of a row; what follows is cut as by `split_long`.
    """
    shortest = max(2, row_tokens // _SHORTEST_TAIL)
    first = min(room, tokens - shortest)
    if tokens <= room or first < shortest:
        return split_long(tokens, row_tokens)
    return [(0, first), *((first + offset, length) for offset, length in split_long(tokens - first, row_tokens))]


def _checked(tokens: np.ndarray, row_tokens: int) -> list[int]:
    lengths = np.asarray(tokens, dtype=np.int64)
    bad = np.flatnonzero((lengths < 1) | (lengths > row_tokens))
    if bad.size:
        raise ValueError(f"candidate {bad[0]} has {lengths[bad[0]]} tokens, a row takes 1 to {row_tokens}")
    return lengths.tolist()
