from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from dsa_ray.generation.tokens import DEFAULT_CHAT_TEMPLATE
from dsa_ray.sections import TrainConfig
from dsa_ray.training import student as student_module
from dsa_ray.training.student import load_student, prepare
from dsa_ray.training.student_check import StudentError
from dsa_ray.training.torch_engine import TorchEngine
from tests.training.builders import VOCABULARY, greedy, random_row, tiny_model

FP32 = TrainConfig(precision="fp32")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A model with its tokenizer as a folder in Hugging Face format."""
    words = {f"w{i}": i for i in range(VOCABULARY - 1)} | {"<eos>": VOCABULARY - 1}
    raw = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", unk_token="<eos>")
    target = str(tmp_path / "model")
    tiny_model().save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def train_a_little(engine: TorchEngine) -> None:
    for _ in range(3):
        engine.train_row(random_row(), last=True)
        engine.step(1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_exported_student_loads_and_writes_the_same_tokens(folder: str, tmp_path: Path, precision: str) -> None:
    config = TrainConfig(precision=precision)
    model, tokenizer = load_student(folder, config)
    engine = TorchEngine(model, config)
    train_a_little(engine)
    target = str(tmp_path / "student")
    engine.export_hf(target, tokenizer)
    loaded = AutoModelForCausalLM.from_pretrained(target)
    assert loaded.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert "segments" not in (Path(target) / "config.json").read_text()
    model.set_attn_implementation("sdpa")
    for parameter in model.parameters():
        parameter.data = parameter.data.to(loaded.dtype)
    assert greedy(loaded) == greedy(model)
    assert AutoTokenizer.from_pretrained(target)("w1 w2")["input_ids"] == [1, 2]


def test_lora_trains_and_saves_its_adapter_only(folder: str, tmp_path: Path) -> None:
    config = FP32.model_copy(update={"lora_rank": 4})
    model, _ = load_student(folder, config)
    base = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    engine = TorchEngine(model, config)
    train_a_little(engine)
    assert all(torch.equal(base[name], p) for name, p in model.named_parameters() if name in base)
    target = str(tmp_path / "adapter")
    engine.export_hf(target)
    assert {path.name for path in Path(target).glob("*.safetensors")} == {"adapter_model.safetensors"}
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), target)
    model.set_attn_implementation("sdpa")
    assert greedy(loaded) == greedy(model)


def test_lora_can_be_written_as_a_full_model(folder: str, tmp_path: Path) -> None:
    config = FP32.model_copy(update={"lora_rank": 4})
    model, _ = load_student(folder, config)
    untrained = greedy(model)
    engine = TorchEngine(model, config)
    train_a_little(engine)
    target = str(tmp_path / "merged")
    engine.export_hf(target, merged=True)
    loaded = AutoModelForCausalLM.from_pretrained(target)
    assert not list(Path(target).glob("adapter*"))
    model.set_attn_implementation("sdpa")
    assert greedy(loaded) == greedy(model)
    assert greedy(loaded) != untrained


def test_lora_trains_with_activation_checkpointing() -> None:
    config = FP32.model_copy(update={"lora_rank": 4, "activation_checkpointing": True})
    model = prepare(tiny_model(), config)
    engine = TorchEngine(model, config)
    first = engine.train_row(random_row(), last=True).losses
    engine.step(1e-1)
    assert (engine.train_row(random_row(), last=True).losses != first).all()


def test_dropout_is_off_so_the_same_row_has_the_same_loss() -> None:
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY, "n_positions": 64}
    engine = TorchEngine(prepare(GPT2LMHeadModel(GPT2Config(**sizes, attn_pdrop=0.5, resid_pdrop=0.5)), FP32), FP32)
    first, second = (engine.train_row(random_row(), last=False).losses.tolist() for _ in range(2))
    assert first == second


def test_a_tokenizer_without_an_end_token_is_refused(folder: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(StudentError, match="has no eos_token") as error:
        load_student(folder, FP32)
    assert "\n" not in str(error.value)


def test_a_tokenizer_without_a_padding_token_trains_with_its_end_token(folder: str) -> None:
    assert AutoTokenizer.from_pretrained(folder).pad_token is None
    model, tokenizer = load_student(folder, FP32)
    assert tokenizer.pad_token == tokenizer.eos_token
    train_a_little(TorchEngine(model, FP32))


def test_a_base_without_a_chat_template_is_exported_with_the_default_one(folder: str, tmp_path: Path) -> None:
    assert AutoTokenizer.from_pretrained(folder).chat_template is None
    model, tokenizer = load_student(folder, FP32)
    TorchEngine(model, FP32).export_hf(str(tmp_path / "student"), tokenizer)
    assert AutoTokenizer.from_pretrained(tmp_path / "student").chat_template == DEFAULT_CHAT_TEMPLATE


def test_a_tokenizer_that_knows_more_than_the_model_is_refused(folder: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(StudentError, match=f"has {VOCABULARY + 1} entries, the model {VOCABULARY}; ") as error:
        load_student(folder, FP32)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("llama", ("q_proj", "v_proj")),
        ("mistral", ("gate_proj",)),
        ("qwen2", ("o_proj",)),
        ("gpt_neox", ("query_key_value", "dense_4h_to_h")),
        ("gpt2", ("c_attn", "c_fc")),
    ],
)
def test_an_adapter_sits_on_the_named_modules_and_goes_out_alone_and_merged(
    architecture: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    config = TrainConfig(precision="fp32", lora_rank=4, lora_targets=names)
    engine = TorchEngine(prepare(tiny_model(architecture), config), config)
    trained = {name for name, weight in engine._model.named_parameters() if weight.requires_grad}
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trained} == set(names)
    train_a_little(engine)
    engine.export_hf(str(tmp_path / "adapter"))
    engine.export_hf(str(tmp_path / "merged"), merged=True)
    alone = PeftModel.from_pretrained(tiny_model(architecture), str(tmp_path / "adapter"), is_trainable=True)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    expected = engine.train_row(random_row(), last=True).losses
    for model in (alone, merged):
        losses = TorchEngine(model, FP32).train_row(random_row(), last=True).losses
        assert losses == pytest.approx(expected, abs=1e-4)


def test_a_module_that_is_not_there_is_named_with_those_that_are() -> None:
    config = TrainConfig(lora_rank=4, lora_targets=("q_proj", "c_attn"))
    with pytest.raises(StudentError, match=r"no linear layer 'c_attn'; it has down_proj, gate_proj, .*q_proj"):
        prepare(tiny_model(), config)


def test_4_bit_weights_without_their_library_are_refused_in_one_line(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StudentError, match="nf4 needs bitsandbytes; pip install"):
        load_student(folder, TrainConfig(lora_rank=4, quantize="nf4"))
