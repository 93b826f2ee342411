from itertools import cycle
from random import Random

import torch

from dsa_ray.embedded.recipe.corpus import Example
from dsa_ray.embedded.recipe.small_model import IGNORED, Schedule, Shape, batches, encode, new_model, train
from dsa_ray.embedded.recipe.tokenizer import train_tokenizer

TOKENIZER = train_tokenizer(["What is 1+2? 3"] * 10, [], 300)


def example(question: str, answer: str) -> Example:
    return Example([{"role": "user", "content": question}], answer, "test")


def test_only_the_answer_and_its_end_carry_loss():
    encoded = encode(TOKENIZER, example("1+2", "3"))
    ids, labels = next(batches(cycle([encoded]), 64, Random(0)))
    assert ids.numel() <= 64
    carried = labels[0][labels[0] != IGNORED]
    assert carried.tolist() == [*TOKENIZER.encode("3"), TOKENIZER.eos_token_id]


def test_a_tiny_model_learns_a_constant_answer():
    torch.manual_seed(0)
    model = new_model(Shape(hidden=32, layers=1, heads=2, inner=64), TOKENIZER, seed=0)
    losses: list[float] = []
    data = batches((encode(TOKENIZER, example(f"{n}", "3")) for n in cycle(range(9))), 128, Random(0))
    schedule = Schedule(steps=60, tokens_per_step=128, learning_rate=1e-2, warmup_steps=5)
    train(model, data, schedule, lambda step, loss: losses.append(loss))
    assert losses[-1] < 0.1 < losses[0]


def test_the_rate_warms_up_and_falls():
    schedule = Schedule(steps=100, tokens_per_step=1, learning_rate=1.0, warmup_steps=10)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] < rates[9] == max(rates) == 1.0
    assert rates[-1] < 0.05
