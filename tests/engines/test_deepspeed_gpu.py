"""The DeepSpeed engine on one GPU: every ZeRO stage, both 16-bit types, state and weights in main memory."""

import numpy as np
import pytest
import torch

from dsa_ray.config import TrainConfig
from dsa_ray.training.student import prepare
from dsa_ray.training.torch_engine import TorchEngine
from tests.training.builders import random_row, tiny_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
deepspeed_engine = pytest.importorskip("dsa_ray.engines.deepspeed_engine")


def losses(engine: object, steps: int = 12) -> list[float]:
    seen = []
    for _ in range(steps):
        seen.append(float(engine.train_row(random_row(), last=True).losses.mean()))
        engine.step(1e-2)
    return seen


@pytest.mark.parametrize(
    "changes",
    [
        *({"zero_stage": stage} for stage in range(4)),
        {"zero_stage": 2, "precision": "fp16"},
        {"zero_stage": 2, "offload_optimizer": True},
        {"zero_stage": 3, "offload_optimizer": True, "offload_parameters": True},
        {"zero_stage": 2, "activation_checkpointing": True},
        {"zero_stage": 2, "lora_rank": 4},
    ],
    ids=str,
)
def test_it_learns_what_the_plain_engine_learns(changes: dict[str, object]) -> None:
    config = TrainConfig(rows_per_step=1, **changes)
    model = student(config)
    engine = deepspeed_engine.DeepSpeedEngine(model, config)
    seen = losses(engine)
    plain = losses(TorchEngine(student(config), config.model_copy(update={"zero_stage": 0}), "cuda"))
    assert seen[-1] < 0.9 * seen[0]
    np.testing.assert_allclose(seen[:3], plain[:3], rtol=0.1)
    engine.close()


def student(config: TrainConfig) -> object:
    return prepare(tiny_model(), config)
