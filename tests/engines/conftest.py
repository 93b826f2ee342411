from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dsa_ray.sections import TrainConfig
from dsa_ray.training.student import prepare
from tests.training.builders import tiny_model


@pytest.fixture
def build() -> Iterator[Callable[..., Any]]:
    """Makes DeepSpeed engines of one rank, and takes their hooks off afterwards."""
    from dsa_ray.engines.deepspeed_engine import DeepSpeedEngine

    engines: list[DeepSpeedEngine] = []

    def one(config: TrainConfig, seed: int = 0, architecture: str = "llama") -> DeepSpeedEngine:
        engines.append(DeepSpeedEngine(prepare(tiny_model(architecture, seed), config), config))
        return engines[-1]

    yield one
    for engine in engines:
        engine.close()
