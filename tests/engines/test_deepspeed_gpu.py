"""The DeepSpeed engine on one GPU: every ZeRO stage, both 16-bit types, state and weights in main memory."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from dsa_ray.sections import TrainConfig
from dsa_ray.training.student import load_student, prepare
from dsa_ray.training.torch_engine import TorchEngine
from tests.engines.tiny_model import tiny_llama
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


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
def test_an_adapter_on_4_bit_weights_is_resumed(tmp_path: Path) -> None:
    config = TrainConfig(rows_per_step=1, lora_rank=4, quantize="nf4")
    base = tiny_llama(tmp_path / "base")
    engines = [deepspeed_engine.DeepSpeedEngine(load_student(base, config)[0], config) for _ in range(2)]
    losses(engines[0])
    engines[0].save(str(tmp_path / "saved"), "shards")
    engines[1].load(str(tmp_path / "saved"), "shards")
    first, second = (engine.copy_student() for engine in engines)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert losses(engines[0], 2) == losses(engines[1], 2)
    for engine in engines:
        engine.close()
