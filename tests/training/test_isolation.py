import pytest
import torch
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    PreTrainedModel,
)

from dsa_ray.training import loss as loss_module
from dsa_ray.training.collate import Row
from dsa_ray.training.isolation import Isolation, IsolationError, PackedModel
from dsa_ray.training.loss import example_losses, row_loss, row_tensors
from tests.training.builders import ARCHITECTURES, VOCABULARY, random_row, tiny_model

LENGTHS = (12, 7, 17)
CPU_WAYS = [way for way in Isolation if way is not Isolation.VARLEN]


def losses(packed: PackedModel, row: Row) -> list[float]:
    tensors = row_tensors(row)
    return example_losses(packed(tensors), tensors)[0].tolist()


def losses_alone(model: PreTrainedModel, row: Row) -> list[float]:
    """Each example in a forward of its own, by the model's own loss."""
    result = []
    for index in range(len(LENGTHS)):
        inside = row["segment"] == index
        ids, labels = (torch.tensor(row[name][inside])[None] for name in ("input_ids", "labels"))
        result.append(model(input_ids=ids, labels=labels).loss.item())
    return result


@pytest.mark.parametrize("isolation", CPU_WAYS)
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_packed_losses_equal_those_of_the_examples_alone(architecture: str, isolation: Isolation) -> None:
    row = random_row(LENGTHS)
    alone = losses_alone(tiny_model(architecture), row)
    packed = PackedModel(tiny_model(architecture), isolation)
    assert losses(packed, row) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("isolation", CPU_WAYS)
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_other_losses_stay_when_the_tokens_of_a_neighbour_change(architecture: str, isolation: Isolation) -> None:
    packed = PackedModel(tiny_model(architecture), isolation)
    row = random_row(LENGTHS)
    before = losses(packed, row)
    first = row["segment"] == 0
    row["input_ids"][first] = (row["input_ids"][first] + 17) % VOCABULARY
    after = losses(packed, row)
    assert after[1:] == before[1:]
    assert after[0] != before[0]


@pytest.mark.parametrize("isolation", CPU_WAYS)
def test_gradients_do_not_cross_between_examples(isolation: Isolation) -> None:
    packed = PackedModel(tiny_model(), isolation)
    both, one = random_row(LENGTHS), random_row(LENGTHS)
    both["weight"][both["segment"] != 1] = 0.0
    one["labels"][one["segment"] != 1] = -100
    gradients = []
    for row in (both, one):
        packed.zero_grad()
        tensors = row_tensors(row)
        row_loss(packed(tensors), tensors).backward()
        gradients.append([p.grad.clone() for p in packed.parameters()])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_on_cpu_the_probe_chooses_one_attention_call_per_example(architecture: str) -> None:
    assert PackedModel(tiny_model(architecture)).isolation is Isolation.SEGMENTS


class Leaking(nn.Module):
    """A causal LM whose every token sees the mean of the whole input."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.inner = model
        self.config = model.config
        self._can_set_attn_implementation = model._can_set_attn_implementation
        self.set_attn_implementation = model.set_attn_implementation
        self.get_output_embeddings = model.get_output_embeddings

    def forward(self, input_ids: torch.Tensor, **kwargs: object) -> object:
        embedded = self.inner.get_input_embeddings()(input_ids)
        return self.inner(inputs_embeds=embedded + embedded.mean(dim=1, keepdim=True), **kwargs)


def test_a_way_that_leaks_is_not_used() -> None:
    leaking = Leaking(tiny_model())
    for way in (Isolation.SEGMENTS, Isolation.POSITIONS):
        with pytest.raises(IsolationError, match="Leaking"):
            PackedModel(leaking, way)  # type: ignore[arg-type]
    assert PackedModel(leaking).isolation is Isolation.SEPARATE  # type: ignore[arg-type]


def test_learned_positions_are_isolated_too() -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=VOCABULARY, n_positions=64))
    row = random_row(LENGTHS)
    alone = losses_alone(model.eval(), row)
    assert losses(PackedModel(model).eval(), row) == pytest.approx(alone, abs=1e-5)


def test_activation_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        packed = PackedModel(model).train()
        tensors = row_tensors(random_row(LENGTHS))
        row_loss(packed(tensors), tensors).backward()
        gradients.append([p.grad.clone() for p in packed.parameters()])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


def test_flash_kernels_are_refused_where_there_are_none() -> None:
    with pytest.raises(IsolationError, match="need a GPU"):
        PackedModel(tiny_model(), Isolation.VARLEN)


SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def gemma2() -> PreTrainedModel:
    """Caps its attention scores and its logits."""
    torch.manual_seed(0)
    return Gemma2ForCausalLM(Gemma2Config(**SIZES, attn_logit_softcapping=1.0, final_logit_softcapping=8.0))


def gpt_oss() -> PreTrainedModel:
    """Has attention sinks."""
    torch.manual_seed(0)
    return GptOssForCausalLM(
        GptOssConfig(**{**SIZES, "initializer_range": 0.1}, num_local_experts=2, num_experts_per_tok=1)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("build", [gemma2, gpt_oss])
def test_soft_caps_and_attention_sinks_are_not_left_out(build, dtype: torch.dtype, monkeypatch) -> None:
    monkeypatch.setattr(loss_module, "_CHUNK_LOGITS", 3 * VOCABULARY)
    row = random_row(LENGTHS)
    model = build().to(dtype).eval()
    model.set_attn_implementation("eager")
    alone = losses_alone(model, row)
    packed = PackedModel(build().to(dtype)).eval()
    assert packed.isolation is not Isolation.SEGMENTS
    assert losses(packed, row) == pytest.approx(alone, abs=1e-4 if dtype is torch.float32 else 0.03)
    with pytest.raises(IsolationError):
        PackedModel(build().to(dtype), Isolation.SEGMENTS)
