"""From a planned row to arrays, and how such a row looks on its way through Arrow.

A row is a dict of NumPy arrays, all of fixed shape for a given `row_tokens` T, so that every block of a stream has
one schema (I = T // 2, the most examples that fit, for an example needs two tokens to carry loss):

    input_ids     int64[T]    tokens, 0 on padding
    position_ids  int64[T]    restart at 0 with every example and with the padding
    labels        int64[T]    un-shifted: the token itself where it carries loss, else -100
    segment       int64[T]    index of the example in the row, -1 on padding; padding only at the end
    weight        float32[T]  weight of the example's loss, 0 on padding
    items         int64[I]    exercise ids in row order, then -1
    visits        int64[I]    their visits (1-based), then -1
    lease, step   int64[1]
    phase         int64[1]    index into `PHASES`
    progress, denominator  float64[1]

One row is one block of one row: `to_batch` adds the leading axis that Ray Data calls a batch (each array becomes a
tensor column), and `from_batch` takes a batch of one, or what `iter_rows` yields, back to the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dsa_ray.records import PackedItem, RowPlan, TextRef, Written

Row = dict[str, np.ndarray]

PHASES = ("textbooks", "exercises")
NO_LOSS = -100
"""Label of a token that carries no loss."""

_DTYPES: dict[str, type[np.generic]] = {
    "input_ids": np.int64,
    "position_ids": np.int64,
    "labels": np.int64,
    "segment": np.int64,
    "weight": np.float32,
    "items": np.int64,
    "visits": np.int64,
    "lease": np.int64,
    "step": np.int64,
    "phase": np.int64,
    "progress": np.float64,
    "denominator": np.float64,
}


class PackingError(Exception):
    """A plan and the texts that it names do not agree."""


def pack(plan: RowPlan, texts: Callable[[TextRef], Written], row_tokens: int) -> Row:
    """Fetch the texts of a planned row and lay them out, padded to `row_tokens`.

    Raises:
        PackingError: the items do not fit the row, or a text has other token counts than the plan says.
    """
    _check_fit(plan, row_tokens)
    row = _empty_row(plan, row_tokens)
    start = 0
    for index, item in enumerate(plan.items):
        ids, first_loss = _tokens_of(item, texts)
        _check_counts(plan, item, len(ids), first_loss)
        end = start + len(ids)
        row["input_ids"][start:end] = ids
        row["position_ids"][start:end] = np.arange(len(ids))
        row["labels"][start + first_loss : end] = ids[first_loss:]
        row["segment"][start:end] = index
        row["weight"][start:end] = item.weight
        row["items"][index] = item.exercise
        row["visits"][index] = item.visit
        start = end
    row["position_ids"][start:] = np.arange(row_tokens - start)
    return row


def to_batch(row: Row) -> dict[str, np.ndarray]:
    """A batch of this one row: every array with a leading axis of length 1."""
    return {name: value[None] for name, value in row.items()}


def from_batch(batch: Mapping[str, np.ndarray]) -> Row:
    """The row of a batch of one, or of one element of `iter_rows`.

    Raises:
        PackingError: a column is missing, or the batch holds more than one row.
    """
    missing = _DTYPES.keys() - batch.keys()
    if missing:
        raise PackingError(f"a packed row lacks the columns {sorted(missing)}")
    row = {name: _as_vector(name, batch[name], dtype) for name, dtype in _DTYPES.items()}
    tokens = len(row["input_ids"])
    if any(len(row[name]) != tokens for name in ("position_ids", "labels", "segment", "weight")):
        raise PackingError("the token columns of a packed row differ in length")
    return row


def example_ids(row: Mapping[str, np.ndarray]) -> np.ndarray:
    """Exercise ids of the row's examples, int64[number of examples]; the same exercise may come twice."""
    return row["items"][: example_count(row)]


def example_visits(row: Mapping[str, np.ndarray]) -> np.ndarray:
    """Visits of the row's examples, int64[number of examples]."""
    return row["visits"][: example_count(row)]


def example_count(row: Mapping[str, np.ndarray]) -> int:
    return int(row["segment"].max(initial=-1)) + 1


def _as_vector(name: str, value: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    array = np.asarray(value, dtype=dtype)
    if array.ndim == 2 and array.shape[0] == 1:
        array = array[0]
    array = np.atleast_1d(array)  # Ray Data hands [1] columns of one row out as scalars in some formats
    if array.ndim != 1:
        raise PackingError(f"column {name} of a packed row has shape {array.shape}; use batches of one row")
    return array


def _empty_row(plan: RowPlan, row_tokens: int) -> Row:
    examples = max(1, row_tokens // 2)
    return {
        "input_ids": np.zeros(row_tokens, np.int64),
        "position_ids": np.zeros(row_tokens, np.int64),
        "labels": np.full(row_tokens, NO_LOSS, np.int64),
        "segment": np.full(row_tokens, -1, np.int64),
        "weight": np.zeros(row_tokens, np.float32),
        "items": np.full(examples, -1, np.int64),
        "visits": np.full(examples, -1, np.int64),
        "lease": np.array([plan.lease], np.int64),
        "step": np.array([plan.step], np.int64),
        "phase": np.array([PHASES.index(plan.phase)], np.int64),
        "progress": np.array([plan.progress], np.float64),
        "denominator": np.array([plan.denominator], np.float64),
    }


def _tokens_of(item: PackedItem, texts: Callable[[TextRef], Written]) -> tuple[tuple[int, ...], int]:
    """The example's tokens and the index of the first one that carries loss (at least 1: the first has no context)."""
    prompt = texts(item.prompt)
    if item.answer == item.prompt:
        ids = prompt.input_ids[item.offset : item.offset + item.tokens]
        return ids, max(1, prompt.prompt_tokens - item.offset)
    answer = texts(item.answer)
    ids = prompt.input_ids[: prompt.prompt_tokens] + answer.input_ids[answer.prompt_tokens :]
    return ids, max(1, prompt.prompt_tokens)


def _check_fit(plan: RowPlan, row_tokens: int) -> None:
    tokens = sum(item.tokens for item in plan.items)
    if tokens > row_tokens:
        raise PackingError(f"lease {plan.lease}: its items hold {tokens} tokens, a row {row_tokens}")
    if len(plan.items) > max(1, row_tokens // 2):
        raise PackingError(f"lease {plan.lease}: {len(plan.items)} items are too many for a row of {row_tokens} tokens")


def _check_counts(plan: RowPlan, item: PackedItem, tokens: int, first_loss: int) -> None:
    loss_tokens = max(0, tokens - first_loss)
    if (tokens, loss_tokens) != (item.tokens, item.loss_tokens):
        raise PackingError(
            f"lease {plan.lease}, exercise {item.exercise}: planned {item.tokens} tokens of which {item.loss_tokens} "
            f"carry loss, the texts hold {tokens} and {loss_tokens}"
        )
