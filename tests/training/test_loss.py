import numpy as np
import pytest
import torch

from dsa_ray.training import loss as loss_module
from dsa_ray.training.collate import Row, pack
from dsa_ray.training.isolation import PackedModel
from dsa_ray.training.loss import cross_entropy, example_losses, row_loss, row_tensors
from tests.training.builders import item, library, plan, random_row, random_texts, tiny_model


def gradient(row: Row) -> torch.Tensor:
    packed = PackedModel(tiny_model())
    tensors = row_tensors(row)
    row_loss(packed(tensors), tensors).backward()
    return torch.cat([p.grad.flatten() for p in packed.parameters()])


def weighted_row(weights: tuple[float, ...]) -> Row:
    texts = random_texts((12, 7))
    items = [item(text, i, weight=w) for i, (text, w) in enumerate(zip(texts, weights, strict=True))]
    return pack(plan(items, denominator=10.0), library(texts), 24)


def test_a_weight_scales_the_gradient_of_its_example_exactly() -> None:
    first, second = gradient(weighted_row((1.0, 0.0))), gradient(weighted_row((0.0, 1.0)))
    both = gradient(weighted_row((0.5, 2.0)))
    torch.testing.assert_close(both, 0.5 * first + 2.0 * second, rtol=0, atol=1e-6)


def test_a_weight_of_zero_gives_no_gradient_but_a_loss() -> None:
    row = weighted_row((0.0, 0.0))
    assert gradient(row).abs().max() == 0.0
    tensors = row_tensors(row)
    losses, tokens = example_losses(PackedModel(tiny_model())(tensors), tensors)
    assert (losses > 0).all()
    assert tokens.tolist() == [8, 5]


def test_a_row_without_examples_has_a_zero_gradient_and_no_losses() -> None:
    row = pack(plan([]), library([]), 16)
    assert gradient(row).abs().max() == 0.0
    tensors = row_tensors(row)
    losses, tokens = example_losses(PackedModel(tiny_model())(tensors), tensors)
    assert losses.shape == tokens.shape == (0,)


def test_an_example_without_loss_tokens_has_no_loss() -> None:
    texts = random_texts((12, 1))
    row = pack(plan([item(text, i) for i, text in enumerate(texts)]), library(texts), 16)
    tensors = row_tensors(row)
    losses, tokens = example_losses(PackedModel(tiny_model())(tensors), tensors)
    assert tokens.tolist() == [8, 0]
    assert np.isfinite(losses).tolist() == [True, False]


def test_row_losses_over_the_denominator_add_up_to_the_token_mean() -> None:
    texts = random_texts((12, 7, 9))
    total = sum(text.loss_tokens for text in texts)
    packed = PackedModel(tiny_model())
    parts, sums = [], 0.0
    for index, text in enumerate(texts):
        row = pack(plan([item(text, index)], denominator=float(total)), library(texts), 16)
        tensors = row_tensors(row)
        nll = packed(tensors)
        parts.append(row_loss(nll, tensors).item())
        sums += nll.sum().item()
    assert sum(parts) == pytest.approx(sums / total, abs=1e-6)


def test_padding_is_cut_off_before_the_model_sees_it() -> None:
    tensors = row_tensors(random_row((12, 7), row_tokens=48))
    assert tensors.input_ids.shape == (1, 19)
    assert tensors.bounds == ((0, 12), (12, 19))


def test_cross_entropy_in_pieces_equals_that_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(10, 7, requires_grad=True), torch.randint(0, 7, (10,))
    whole = cross_entropy(logits, targets)
    (expected,) = torch.autograd.grad(whole.sum(), logits)
    monkeypatch.setattr(loss_module, "_CHUNK_LOGITS", 21)
    pieces = cross_entropy(logits, targets)
    (actual,) = torch.autograd.grad(pieces.sum(), logits)
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(actual, expected)
