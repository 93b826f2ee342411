from pathlib import Path

import pytest
import torch

from dsa_ray.sections import TrainConfig
from dsa_ray.training.loop import StepReport, run_rank
from dsa_ray.training.torch_engine import TorchEngine
from tests.training.builders import random_row, random_steps, tiny_model

CONFIG = TrainConfig(precision="fp32", learning_rate=1e-2, warmup=0.0, rows_per_step=2)


def train(engine: TorchEngine, steps: list) -> list[StepReport]:
    reports: list[StepReport] = []
    run_rank(engine, [row for step in steps for row in step], 2, reports.append, CONFIG)
    return reports


def test_training_on_the_same_row_lowers_its_loss() -> None:
    engine = TorchEngine(tiny_model(), CONFIG)
    reports: list[StepReport] = []
    run_rank(engine, [random_row(step=s) for s in range(1, 21)], 1, reports.append, CONFIG)
    assert reports[-1].loss < 0.5 * reports[0].loss


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_how_rows_are_cut_into_steps_of_one_rank_does_not_change_the_gradient(precision: str) -> None:
    """Two rows with the denominator of both give the gradient of one row that holds all."""
    config = CONFIG.model_copy(update={"precision": precision})
    norms = []
    for rows in ([random_row((6, 6, 6), denominator=12.0)], [random_row((6,) * 3, denominator=24.0)] * 2):
        engine = TorchEngine(tiny_model(), config)
        for row in rows:
            engine.train_row(row, last=row is rows[-1])
        norms.append(engine.step(0.0).grad_norm)
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_a_loaded_checkpoint_goes_on_bit_for_bit(tmp_path: Path) -> None:
    steps = random_steps(6, 2)
    straight = TorchEngine(tiny_model(), CONFIG)
    train(straight, steps[:3])
    straight.save(str(tmp_path), "step-3")
    expected = train(straight, steps[3:])
    resumed = TorchEngine(tiny_model(seed=1), CONFIG)
    resumed.load(str(tmp_path))
    actual = train(resumed, steps[3:])
    assert [r.losses.tolist() for r in actual] == [r.losses.tolist() for r in expected]
    assert [r.grad_norm for r in actual] == [r.grad_norm for r in expected]


def test_probes_leave_the_weights_alone() -> None:
    model = tiny_model()
    config = CONFIG.model_copy(update={"weight_decay": 0.0})
    engine = TorchEngine(model, config)
    before = [p.detach().clone() for p in model.parameters()]
    row = random_row()
    row["weight"][:] = 0.0
    losses = engine.train_row(row, last=True).losses
    engine.step(1e-2)
    assert (losses > 0).all()
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
