import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.records import TextRef
from dsa_ray.training.collate import PackingError, example_ids, example_visits, from_batch, pack, to_batch
from tests.training.builders import item, library, plan, random_row, random_texts, written


def test_a_row_holds_its_examples_one_after_another_and_loss_only_on_answers() -> None:
    texts = [written(7, [1, 2, 3, 4], 2), written(9, [5, 6, 7], 1)]
    row = pack(plan([item(texts[0], 0), item(texts[1], 1, weight=0.5, visit=3)]), library(texts), 10)
    assert row["input_ids"].tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 0, 0]
    assert row["position_ids"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2]
    assert row["labels"].tolist() == [-100, -100, 3, 4, -100, 6, 7, -100, -100, -100]
    assert row["segment"].tolist() == [0, 0, 0, 0, 1, 1, 1, -1, -1, -1]
    assert row["weight"].tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0, 0, 0]
    assert example_ids(row).tolist() == [7, 9]
    assert example_visits(row).tolist() == [1, 3]


def test_a_planted_example_joins_one_prompt_with_another_answer() -> None:
    texts = [written(1, [1, 2, 3, 4, 5], 3), written(2, [11, 12, 13, 14], 2)]
    planted = item(texts[0], 0, exercise=50, answer=TextRef(segment=0, row=1), tokens=5, loss_tokens=2)
    row = pack(plan([planted]), library(texts), 8)
    assert row["input_ids"].tolist() == [1, 2, 3, 13, 14, 0, 0, 0]
    assert row["labels"].tolist() == [-100, -100, -100, 13, 14, -100, -100, -100]
    assert example_ids(row).tolist() == [50]


def test_a_long_textbook_is_taken_from_its_offset_and_its_first_token_has_no_loss() -> None:
    book = written(3, range(1, 21), 0)
    row = pack(plan([item(book, 0, offset=8, tokens=6, loss_tokens=5)], phase="textbooks"), library([book]), 8)
    assert row["input_ids"].tolist() == [9, 10, 11, 12, 13, 14, 0, 0]
    assert row["position_ids"].tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert row["labels"].tolist() == [-100, 10, 11, 12, 13, 14, -100, -100]
    assert row["phase"].tolist() == [0]


def test_an_offset_inside_the_prompt_keeps_the_rest_of_the_prompt_free_of_loss() -> None:
    text = written(3, range(1, 11), 5)
    row = pack(plan([item(text, 0, offset=3, tokens=7, loss_tokens=5)]), library([text]), 8)
    assert row["labels"].tolist() == [-100, -100, 6, 7, 8, 9, 10, -100]


def test_a_plan_that_disagrees_with_its_texts_is_refused() -> None:
    texts = random_texts([8])
    with pytest.raises(PackingError, match="exercise 100: planned 7 tokens"):
        pack(plan([item(texts[0], 0, tokens=7, loss_tokens=7)]), library(texts), 16)
    with pytest.raises(PackingError, match="hold 8 tokens, a row 4"):
        pack(plan([item(texts[0], 0)]), library(texts), 4)


def test_a_plan_without_items_is_a_row_of_padding() -> None:
    row = pack(plan([]), library([]), 8)
    assert (row["segment"] == -1).all()
    assert len(example_ids(row)) == 0


@given(st.lists(st.integers(2, 12), min_size=1, max_size=4))
def test_every_token_of_every_text_lies_in_the_row_once(lengths: list[int]) -> None:
    texts = random_texts(lengths)
    row = pack(plan([item(text, i) for i, text in enumerate(texts)]), library(texts), 64)
    for index, text in enumerate(texts):
        assert row["input_ids"][row["segment"] == index].tolist() == list(text.input_ids)
        assert (row["labels"][row["segment"] == index] >= 0).sum() == text.loss_tokens


def test_a_row_survives_arrow_unchanged() -> None:
    block = pytest.importorskip("ray.data.block")
    row = random_row()
    table = block.BlockAccessor.batch_to_arrow_block(to_batch(row))
    assert table.num_rows == 1
    back = block.BlockAccessor.for_block(table)
    single = next(iter(back.iter_rows(public_row_format=True)))
    for restored in (from_batch(back.to_numpy()), from_batch(single)):
        assert restored.keys() == row.keys()
        for name, value in row.items():
            np.testing.assert_array_equal(restored[name], value)
            assert restored[name].dtype == value.dtype


def test_a_batch_of_two_rows_is_refused() -> None:
    two = {name: np.stack([value, value]) for name, value in random_row().items()}
    with pytest.raises(PackingError, match="batches of one row"):
        from_batch(two)


def test_a_batch_without_a_column_is_refused() -> None:
    batch = to_batch(random_row())
    del batch["labels"]
    with pytest.raises(PackingError, match="labels"):
        from_batch(batch)


def test_a_planned_weight_reaches_its_tokens_only() -> None:
    texts = random_texts([5, 6])
    probe = dataclasses.replace(item(texts[1], 1), weight=0.0)
    row = pack(plan([item(texts[0], 0), probe]), library(texts), 12)
    assert row["weight"].tolist() == [1.0] * 5 + [0.0] * 7
