import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from dsa_ray.training import loss as loss_module
from dsa_ray.training.head import linear_nll
from dsa_ray.training.isolation import PackedModel
from dsa_ray.training.loss import row_loss, row_tensors
from tests.training.builders import ARCHITECTURES, VOCABULARY, random_row, tiny_model


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@settings(max_examples=25, deadline=None)
@given(positions=st.integers(1, 9), rows=st.integers(1, 12), biased=st.booleans(), seed=st.integers(0, 99))
def test_losses_and_gradients_equal_those_of_the_plain_form(positions: int, rows: int, biased: bool, seed: int) -> None:
    torch.manual_seed(seed)
    hidden, weight = torch.randn(positions, 5, dtype=torch.float64), torch.randn(11, 5, dtype=torch.float64)
    leaves = [hidden, weight, *([torch.randn(11, dtype=torch.float64)] if biased else [])]
    for leaf in leaves:
        leaf.requires_grad_()
    targets, upstream = torch.randint(0, 11, (positions,)), torch.randn(positions)
    bias = leaves[2] if biased else None
    plain = F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="none")
    pieces = linear_nll(hidden, weight, bias, targets, rows)
    torch.testing.assert_close(pieces, plain.float(), rtol=0, atol=1e-5)
    expected = torch.autograd.grad((plain * upstream).sum(), leaves)
    for left, right in zip(torch.autograd.grad((pieces * upstream).sum(), leaves), expected, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_a_model_with_a_large_vocabulary_trains_the_same_without_its_logits(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = row_tensors(random_row((12, 7, 17)))
    losses, gradients, largest = [], [], []
    for limit in (1 << 25, 3 * VOCABULARY):
        monkeypatch.setattr(loss_module, "_CHUNK_LOGITS", limit)
        packed = PackedModel(tiny_model(architecture)).train()
        with LargestTensor() as watch:
            nll = packed(row)
            row_loss(nll, row).backward()
        losses.append(nll.detach())
        gradients.append([p.grad for p in packed.parameters()])
        largest.append(watch.elements)
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-5)
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


def test_logits_of_all_positions_never_exist_at_once() -> None:
    hidden, weight = torch.randn(64, 8, requires_grad=True), torch.randn(1000, 8, requires_grad=True)
    targets = torch.randint(0, 1000, (64,))
    with LargestTensor() as watch:
        linear_nll(hidden, weight, None, targets, 4).sum().backward()
    assert watch.elements == 1000 * 8  # the weight and its gradient; 64 positions would be 64,000 logits


def test_a_model_that_changes_its_logits_keeps_its_own_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    class Capped(torch.nn.Module):
        """A causal LM whose logits are softly capped after the output layer."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny_model()
            self.config, self._can_set_attn_implementation = self.inner.config, lambda: True
            self.set_attn_implementation = self.inner.set_attn_implementation
            self.get_output_embeddings = self.inner.get_output_embeddings

        def forward(self, **kwargs: object) -> object:
            output = self.inner(**kwargs)
            output.logits = 0.5 * torch.tanh(output.logits / 0.5)
            return output

    row = row_tensors(random_row((12, 7, 17)))
    plain = PackedModel(Capped())(row)  # type: ignore[arg-type]
    monkeypatch.setattr(loss_module, "_CHUNK_LOGITS", 3 * VOCABULARY)
    torch.testing.assert_close(PackedModel(Capped())(row), plain)  # type: ignore[arg-type]


def test_generation_still_sees_logits() -> None:
    model = tiny_model()
    before = model(input_ids=torch.tensor([[3, 14, 15]])).logits
    PackedModel(model)
    model.set_attn_implementation("sdpa")
    torch.testing.assert_close(model(input_ids=torch.tensor([[3, 14, 15]])).logits, before)
