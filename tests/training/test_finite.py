"""One exercise that cannot be computed: the others of its row are trained on as if it were not there."""

import math

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from dsa_ray.sections import TrainConfig
from dsa_ray.training.collate import Row
from dsa_ray.training.loop import NonFiniteLoss, StepReport, run_rank
from dsa_ray.training.torch_engine import TorchEngine
from tests.training.builders import random_row, tiny_model

POISON = 60
"""A token whose embedding is infinite."""
CONFIG = TrainConfig(precision="fp32", learning_rate=1e-2, warmup=0.0, rows_per_step=1)


def poisoned_model() -> PreTrainedModel:
    model = tiny_model("qwen2")
    with torch.no_grad():
        model.get_input_embeddings().weight[POISON] = math.inf
    return model


def row_with(*poisoned: int) -> Row:
    """Three examples; these hold the token, as their first."""
    row = random_row((9, 8, 7))
    row["input_ids"][row["input_ids"] == POISON] = 1
    row["labels"][row["labels"] == POISON] = 1
    for example in poisoned:
        row["input_ids"][np.argmax(row["segment"] == example)] = POISON
    return row


def train(row: Row, non_finite: str) -> tuple[StepReport, PreTrainedModel]:
    config = CONFIG.model_copy(update={"non_finite": non_finite})
    model, reports = poisoned_model(), []
    run_rank(TorchEngine(model, config), [row], 1, reports.append, config)
    return reports[0], model


def test_the_run_stops_and_names_the_exercises() -> None:
    with pytest.raises(NonFiniteLoss, match="101"):
        train(row_with(1), "stop")


@pytest.mark.parametrize("poisoned", [(0,), (1,), (0, 2)])
def test_skipping_leaves_out_the_bad_ones_and_no_others(poisoned: tuple[int, ...]) -> None:
    report, _ = train(row_with(*poisoned), "skip")
    plain, _ = train(row_with(), "skip")
    assert np.flatnonzero(~np.isfinite(report.losses)).tolist() == list(poisoned)
    sound = np.isfinite(report.losses)
    np.testing.assert_allclose(report.losses[sound], plain.losses[sound], rtol=1e-5)
    assert math.isfinite(report.grad_norm)
    assert math.isfinite(report.loss)


def test_the_weights_learn_from_the_others_as_if_the_bad_one_weighed_nothing() -> None:
    _, skipped = train(row_with(1), "skip")
    weightless = row_with()
    weightless["weight"][weightless["segment"] == 1] = 0.0
    _, expected = train(weightless, "skip")
    for (name, one), other in zip(skipped.named_parameters(), expected.parameters(), strict=True):
        if "embed_tokens" not in name:
            torch.testing.assert_close(one, other, msg=name)


def test_weights_that_are_broken_cannot_be_skipped() -> None:
    model, config = poisoned_model(), CONFIG.model_copy(update={"non_finite": "skip"})
    engine = TorchEngine(model, config)
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(math.nan)
    with pytest.raises(NonFiniteLoss, match="gradient"):
        run_rank(engine, [row_with()], 1, lambda report: None, config)
