"""What share of a device's peak training uses."""

import pytest
import torch

from dsa_ray.sections import TrainConfig
from dsa_ray.training import flops
from dsa_ray.training.flops import peak_tokens_per_s
from dsa_ray.training.student import prepare
from tests.training.builders import tiny_model

CPU = torch.device("cpu")


def test_the_peak_in_tokens_is_six_operations_per_weight_and_fewer_where_the_base_is_frozen() -> None:
    config = TrainConfig(peak_tflops=2.0)
    model = prepare(tiny_model(), config)
    weights = model.num_parameters()
    assert peak_tokens_per_s(model, config, CPU) == pytest.approx(2e12 / (6 * weights))
    with_adapter = prepare(tiny_model(), config.model_copy(update={"lora_rank": 4}))
    trained = with_adapter.num_parameters(only_trainable=True)
    assert 0 < trained < weights
    expected = 2e12 / (4 * (weights + trained) + 2 * trained)
    assert peak_tokens_per_s(with_adapter, config, CPU) == pytest.approx(expected)


def test_the_peak_is_that_of_a_known_card_in_16_bits_and_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    assert peak_tokens_per_s(model, TrainConfig(), CPU) is None
    monkeypatch.setattr(flops, "peak_flops", lambda device: 989e12)
    assert peak_tokens_per_s(model, TrainConfig(), CPU) == pytest.approx(989e12 / (6 * model.num_parameters()))
    assert peak_tokens_per_s(model, TrainConfig(precision="fp32"), CPU) is None
