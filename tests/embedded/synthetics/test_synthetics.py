from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.embedded.synthetics.addition import Addition
from dsa_ray.embedded.synthetics.lego import Lego
from dsa_ray.embedded.synthetics.task import held_out, stream

legos = st.builds(Lego, st.integers(2, 26), st.sampled_from(["chain", "two_chains", "tree"]))
tasks = st.one_of(legos, st.builds(Addition, st.integers(2, 9)))


@given(tasks, st.data(), st.integers(0, 10**6))
def test_the_oracle_gives_the_answer_that_the_sample_was_made_with(task, data, seed):
    skill = data.draw(st.integers(1, task.skills))
    sample = task.sample(skill, Random(seed))
    assert task.solve(sample.prompt) == sample.answer
    assert sample == task.sample(skill, Random(seed))


@given(tasks, st.text(max_size=60))
def test_the_oracle_says_nothing_on_other_text(task, text):
    assert task.solve(text) is None
    assert task.solve(f"Input: {text}. Output: a = val") is None


@pytest.mark.parametrize(
    "prompt",
    [
        "Input: a = val b , b = val a. Output: a = val",  # a circle
        "Input: a = val b. Output: a = val",  # leads nowhere
        "Input: a = val 1 , a = val 0. Output: a = val",  # twice
        "Input: a = not 1. Output: a = val",
    ],
)
def test_lego_that_has_no_answer_gets_none(prompt):
    assert Lego(2).solve(prompt) is None


def test_lego_worked_by_hand():
    assert Lego(3).solve("Input: c = not a , a = val 1 , f = val c. Output: f = val") == "0"
    assert Lego(3).solve("Input: c = not a , a = val 1 , f = val c. Output: a = val") == "1"


def test_addition_worked_by_hand():
    prompts = [f"Input: A = 1 0 6 + 0 9 7 , A {place} = ? Output:" for place in range(3)]
    assert [Addition().solve(prompt) for prompt in prompts] == ["3", "0", "2"]
    assert Addition().sample(1, Random(0)).prompt.endswith(", A 0 = ? Output:")
    assert Addition(2).solve(prompts[0]) is None


def test_the_shapes_of_lego():
    assert Lego(5).parents == (None, 0, 1, 2, 3)
    assert Lego(5, "two_chains").parents == (None, 0, 1, None, 3)
    assert Lego(5, "tree").parents == (None, 0, 0, 1, 1)


def test_answers_are_balanced():
    rng = Random(3)
    bits = Counter(Lego(5).sample(4, rng).answer for _ in range(2000))
    assert 900 < bits["0"] < 1100
    digits = Counter(Addition().sample(2, rng).answer for _ in range(5000))
    assert len(digits) == 10
    assert min(digits.values()) > 400


def test_every_clause_is_always_there_and_only_the_query_changes():
    one, four = (Lego(5).sample(skill, Random(9)).prompt for skill in (1, 4))
    assert one.split(". Output")[0] == four.split(". Output")[0]
    assert one.count(" = ") == 6


def test_held_out_samples_are_different_fixed_and_can_be_kept_from_training():
    task = Lego(3)
    kept = held_out(task, seed=42, per_skill=50)
    assert kept == held_out(task, seed=42, per_skill=50)
    assert kept != held_out(task, seed=43, per_skill=50)
    seen = {sample.prompt for samples in kept.values() for sample in samples}
    assert len(seen) == 150
    trained = list(stream(task, 2, Random(1), set(seen), 500))
    assert not seen & {sample.prompt for sample in trained}
    assert len({sample.prompt for sample in trained}) == 500


def test_a_skill_that_is_used_up_says_so():
    with pytest.raises(RuntimeError, match="no new sample"):
        list(stream(Addition(2), 1, Random(0), set(), 10_001))


def test_published_graphs_and_shares():
    assert Lego(5).edges == ((2, 1), (2, 3), (2, 4))
    assert Lego(3).edges == ((2, 1), (2, 3))
    assert Lego(5).random_shares == (1, 1, 1, 3, 5)
    assert Lego(3).random_shares == (1, 3, 5)
    assert Addition().random_shares == (13, 14, 18)


@pytest.mark.parametrize("make", [lambda: Lego(1), lambda: Lego(27), lambda: Addition(1), lambda: Addition(10)])
def test_sizes_that_cannot_be_are_refused(make):
    with pytest.raises(ValueError, match="2 to"):
        make()
