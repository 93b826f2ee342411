"""What only a GPU shows: the flash kernels isolate, 16 bits train, the loss in pieces saves memory."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dsa_ray.sections import TrainConfig
from dsa_ray.training import loss as loss_module
from dsa_ray.training.isolation import Isolation, PackedModel
from dsa_ray.training.loss import example_losses, row_loss, row_tensors
from dsa_ray.training.student import load_student
from dsa_ray.training.torch_engine import TorchEngine
from tests.training.builders import ARCHITECTURES, VOCABULARY, random_row, tiny_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
LENGTHS = (12, 7, 17)
BF16 = torch.bfloat16


def packed_model(architecture: str, way: Isolation | None = None) -> PackedModel:
    return PackedModel(tiny_model(architecture).cuda(), way, autocast=BF16)


def losses(packed: PackedModel, row: dict[str, np.ndarray]) -> list[float]:
    tensors = row_tensors(row, "cuda")
    return example_losses(packed(tensors), tensors)[0].tolist()


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_the_probe_chooses_flash_kernels_and_they_give_the_losses_of_the_examples_alone(architecture: str) -> None:
    packed = packed_model(architecture)
    assert packed.isolation is Isolation.VARLEN
    row = random_row(LENGTHS)
    alone = losses(packed_model(architecture, Isolation.SEPARATE), row)
    assert losses(packed, row) == pytest.approx(alone, rel=0.02)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_a_neighbour_does_not_move_a_loss(architecture: str) -> None:
    packed = packed_model(architecture)
    row = random_row(LENGTHS)
    before = losses(packed, row)
    first = row["segment"] == 0
    row["input_ids"][first] = (row["input_ids"][first] + 17) % VOCABULARY
    after = losses(packed, row)
    assert after[1:] == before[1:]
    assert after[0] != before[0]


def test_gradients_equal_those_of_the_examples_alone() -> None:
    gradients = []
    for way in (Isolation.VARLEN, Isolation.SEPARATE):
        packed = packed_model("llama", way).train()
        tensors = row_tensors(random_row(LENGTHS), "cuda")
        row_loss(packed(tensors), tensors).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in packed.parameters()]))
    assert torch.norm(gradients[0] - gradients[1]) < 0.02 * torch.norm(gradients[1])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns_a_row_by_heart(precision: str) -> None:
    engine = TorchEngine(tiny_model(), TrainConfig(precision=precision), device="cuda")
    seen = []
    for _ in range(30):
        seen.append(float(engine.train_row(random_row(), last=True).losses.mean()))
        engine.step(1e-2)
    assert seen[-1] < 0.7 * seen[0]


def test_the_loss_in_pieces_takes_a_fraction_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = LlamaConfig(
        vocab_size=128_000, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1
    )
    torch.manual_seed(0)
    packed = PackedModel(LlamaForCausalLM(shape).cuda(), autocast=BF16).train()
    row = row_tensors(random_row((1000,) * 4, row_tokens=4096), "cuda")
    peaks, sums = [], []
    for limit in (1 << 40, 1 << 24):
        monkeypatch.setattr(loss_module, "_CHUNK_LOGITS_GPU", limit)
        packed.zero_grad()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss = row_loss(packed(row), row)
        loss.backward()
        sums.append(loss.item())
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert sums[1] == pytest.approx(sums[0], rel=1e-3)
    assert peaks[1] < 0.2 * peaks[0]


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A model large enough for 4-bit blocks, with its tokenizer, as a folder."""
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4)).save_pretrained(tmp_path / "base")
    raw = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="w1").save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
def test_qlora_learns_on_frozen_4_bit_weights_and_exports_its_adapter_and_the_merged_model(
    base: str, tmp_path: Path
) -> None:
    config = TrainConfig(lora_rank=8, quantize="nf4", lora_targets=("q_proj", "v_proj", "down_proj"))
    model, tokenizer = load_student(base, config)
    assert any(parameter.dtype == torch.uint8 for parameter in model.parameters())
    engine = TorchEngine(model, config, device="cuda")
    seen = []
    for _ in range(30):
        seen.append(float(engine.train_row(random_row(), last=True).losses.mean()))
        engine.step(1e-2)
    assert seen[-1] < 0.9 * seen[0]
    engine.export_hf(str(tmp_path / "adapter"), tokenizer)
    engine.export_hf(str(tmp_path / "merged"), tokenizer, merged=True)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    again = TorchEngine(merged, TrainConfig(precision="fp32"), device="cuda")
    losses_then = engine.train_row(random_row(), last=True).losses
    np.testing.assert_allclose(again.train_row(random_row(), last=True).losses, losses_then, rtol=0.05)
    quantized = load_student(base, TrainConfig(lora_rank=8, quantize="nf4"))[0].get_base_model()
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size < 200_000
    assert quantized.config.quantization_config is not None


def test_compiled_layers_give_the_same_losses_for_rows_of_any_length() -> None:
    plain = TorchEngine(tiny_model(), TrainConfig(), device="cuda")
    compiled = TorchEngine(tiny_model(), TrainConfig(compile=True), device="cuda")
    for lengths in ((12, 7, 17), (20, 9), (5, 6, 7, 8)):
        losses_of = [engine.train_row(random_row(lengths), last=True).losses for engine in (plain, compiled)]
        np.testing.assert_allclose(losses_of[1], losses_of[0], rtol=0.02)
