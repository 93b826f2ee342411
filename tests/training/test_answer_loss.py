from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from dsa_ray.training import answer_loss
from dsa_ray.training.answer_loss import answer_losses
from tests.engines.tiny_model import tiny_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_llama(Path(tmp_path_factory.mktemp("model")))


def alone(model: str, ids: list[int], prompt: int) -> float:
    """The loss of one example by the model's own loss function."""
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    labels = torch.tensor([[-100] * prompt + ids[prompt:]])
    with torch.inference_mode():
        return float(network(input_ids=torch.tensor([ids]), labels=labels).loss)


def test_answers_of_any_length_have_the_loss_that_they_have_alone(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [(list(range(10, 10 + n)), prompt) for n, prompt in ((12, 4), (30, 20), (5, 1), (13, 4), (40, 39))]
    wanted = [alone(model, ids, prompt) for ids, prompt in examples]
    assert answer_losses(model, examples) == pytest.approx(wanted, abs=1e-5)
    monkeypatch.setattr(answer_loss, "MOST_TOKENS", 30)
    assert answer_losses(model, examples) == pytest.approx(wanted, abs=1e-5)
