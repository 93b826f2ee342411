import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.curriculum.mixture import (
    Evaluation,
    MixtureRule,
    complete_losses,
    first_mixture,
    next_mixture,
    proportional,
    refitted,
    stratified,
    transfer_of,
    usable,
    whole_counts,
)
from dsa_ray.records import Edge, Skill
from dsa_ray.skills.graph import build

LEGO = np.eye(5)
LEGO[1, [0, 2, 3]] = 0.5  # the published graph: skill 2 helps 1, 3 and 4


def rule(**values):
    return MixtureRule(**{"eta": 0.5, "rounds": 6, "window": 3, **values})


def evaluations(*rows: tuple[int, list[float]]) -> list[Evaluation]:
    return [Evaluation(number, np.array(losses)) for number, losses in rows]


def published(transfer, vectors, eta, mean=False):
    """The update as the formulas have it, one number at a time."""
    weights = []
    for row in transfer:
        exponent = 0.0
        for losses in vectors:
            exponent += sum(a * loss for a, loss in zip(row, losses, strict=True)) / (len(vectors) if mean else 1)
        weights.append(math.exp(eta * exponent))
    return [weight / sum(weights) for weight in weights]


def test_the_first_mixture_on_lego_is_the_published_one():
    shares = first_mixture(LEGO, rule())
    assert shares.round(3).tolist() == [0.163, 0.346, 0.163, 0.163, 0.163]


def test_an_update_worked_by_hand():
    # A = [[1, 0], [0.5, 1]], L = (2, 1), eta 0.5: exponents 0.5*2 and 0.5*(1+1), equal
    transfer = np.array([[1.0, 0.0], [0.5, 1.0]])
    assert next_mixture(transfer, evaluations((0, [2.0, 1.0])), rule()).tolist() == [0.5, 0.5]
    # a second round with L = (1, 1): exponents 0.5*3 and 0.5*(2+1.5), a difference of 0.25
    shares = next_mixture(transfer, evaluations((0, [2.0, 1.0]), (1, [1.0, 1.0])), rule())
    assert shares == pytest.approx([1 / (1 + math.exp(0.25)), 1 / (1 + math.exp(-0.25))], abs=1e-12)


@st.composite
def histories(draw):
    k, m = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    number = st.floats(0, 4, allow_nan=False)
    transfer = draw(st.lists(st.lists(number, min_size=m, max_size=m), min_size=k, max_size=k))
    per_round = draw(st.integers(1, 4))
    rounds = draw(st.integers(1, 6))
    rows = draw(
        st.lists(st.lists(number, min_size=m, max_size=m), min_size=rounds * per_round, max_size=rounds * per_round)
    )
    return np.array(transfer), per_round, rows


@given(histories(), st.sampled_from([0.1, 0.5, 0.8]), st.integers(1, 4))
def test_both_forms_agree_with_the_published_update_to_a_millionth(history, eta, window):
    transfer, per_round, rows = history
    made = [Evaluation(number // per_round, np.array(row)) for number, row in enumerate(rows)]
    before_rounds = rows[::per_round][-window:]
    paper = next_mixture(transfer, made, rule(eta=eta, window=window))
    assert np.abs(paper - published(transfer, before_rounds, eta)).max() < 1e-6
    code = next_mixture(transfer, made, rule(eta=eta, window=window, form="code"))
    assert np.abs(code - published(transfer, rows[-window:], eta)).max() < 1e-6
    tuned = next_mixture(transfer, made, rule(eta=eta, window=window, form="code", setting="finetuning"))
    assert np.abs(tuned - published(transfer, rows[-window:], eta, mean=True)).max() < 1e-6


def test_sum_and_mean_can_be_chosen_in_either_form():
    made = evaluations((0, [1.0, 3.0]), (1, [3.0, 5.0]))
    for form in ("paper", "code"):
        summed = next_mixture(np.eye(2), made, rule(form=form, reduction="sum"))
        mean = next_mixture(np.eye(2), made, rule(form=form, reduction="mean"))
        assert summed == pytest.approx([1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2))])
        assert mean == pytest.approx([1 / (1 + math.exp(1)), 1 / (1 + math.exp(-1))])


def test_a_complete_graph_gives_equal_shares_and_an_empty_one_goes_by_a_skills_own_loss():
    made = evaluations((0, [0.2, 1.0, 3.0]))
    assert next_mixture(np.ones((3, 3)), made, rule()) == pytest.approx([1 / 3] * 3)
    own = next_mixture(np.eye(3), made, rule())
    assert own == pytest.approx(np.exp([0.1, 0.5, 1.5]) / np.exp([0.1, 0.5, 1.5]).sum())


def test_one_round_is_static_whatever_is_observed():
    static = rule(rounds=1)
    later = next_mixture(LEGO, evaluations((0, [9.0, 0.0, 0.0, 0.0, 0.0])), static)
    assert later.tolist() == first_mixture(LEGO, static).tolist()


def test_a_static_mixture_of_the_code_counts_own_weights_as_one():
    learned = np.array([[1.342, 0.0], [0.732, 0.875]])
    assert first_mixture(learned, rule(eta=0.2, rounds=1, form="code")) == pytest.approx(
        published([[1, 0], [0.732, 1]], [[1, 1]], 0.2)
    )


def test_the_start_of_the_papers_stance_detection():
    learned = np.array([[1.342, 0.0], [0.732, 0.875]])  # rows stance, matching; the target is stance
    assert first_mixture(learned[:, [0]], rule(eta=0.2, setting="finetuning")).round(2).tolist() == [0.53, 0.47]


def test_out_of_domain_the_columns_are_other_skills():
    transfer = np.array([[0.5], [0.0], [1.0]])
    shares = next_mixture(transfer, evaluations((0, [2.0])), rule(setting="out_of_domain"))
    assert shares == pytest.approx(published(transfer, [[2.0]], 0.5))


def test_a_large_step_size_does_not_overflow():
    shares = first_mixture(np.eye(3) * 50, rule(eta=100.0, rounds=1))
    assert np.isfinite(shares).all()
    assert shares.sum() == pytest.approx(1)


def test_stratified_shares_in_the_three_settings():
    transfer = LEGO[:, [2]]
    assert stratified(LEGO, "pretraining").tolist() == [0.2] * 5
    assert stratified(transfer, "finetuning").tolist() == [0, 0.5, 0.5, 0, 0]
    with pytest.raises(ValueError, match="no training skill"):
        stratified(np.zeros((2, 1)), "out_of_domain")


def test_random_shares_are_those_of_the_data():
    assert proportional([1, 1, 1, 3, 5]) == pytest.approx(np.array([1, 1, 1, 3, 5]) / 11)
    assert proportional([0, 0]).tolist() == [0.5, 0.5]


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=8), st.integers(0, 10_000))
def test_counts_add_up_and_are_never_negative(weights, items):
    counts = whole_counts(np.array(weights) / sum(weights), items)
    assert counts.sum() == items
    assert (counts >= 0).all()


def test_missing_and_negative_weights_are_counted_and_have_one_rule():
    given_weights = [[None, 0.5, float("nan")], [-0.2, 1.0, float("inf")], [0.0, 0.0, 1.0]]
    paper, counts = usable(given_weights, "paper")
    assert paper.tolist() == [[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert counts == {"missing_weight": 3, "negative_weight": 1}
    assert usable(given_weights, "code")[0][1, 0] == -0.2


@pytest.mark.parametrize("broken", [[], [[]], [1.0, 2.0], [["a"]], [[1.0], [1.0, 2.0]]])
def test_something_that_is_no_table_is_refused_in_one_line(broken):
    with pytest.raises(ValueError, match="mixture: the transfer weights"):
        usable(broken, "paper")


def test_a_skill_without_held_out_items_counts_as_the_mean_of_the_others():
    losses, without = complete_losses([1.0, None, 3.0, float("nan"), -1.0])
    assert losses.tolist() == [1.0, 2.0, 3.0, 2.0, 2.0]
    assert without == 3
    assert complete_losses([None, None]) == (None, 2)


def test_a_graphs_transfer_is_half_for_a_prerequisite_and_one_for_itself_unless_learned():
    graph = build("b", [Skill(id="a", name="a"), Skill(id="b", name="b")], [Edge(prerequisite="a", skill="b")])
    assert transfer_of(graph, ["a", "b"], ["a", "b"]).tolist() == [[1, 0.5], [0, 1]]
    assert transfer_of(graph, ["a"], ["b"]).tolist() == [[0.5]]
    learned = build("b", graph.skills, [Edge(prerequisite="a", skill="b", transfer=0.3)])
    assert transfer_of(learned, ["a", "b"], ["a", "b"]).tolist() == [[1, 0.3], [0, 1]]


def test_refitted_weights_find_the_transfer_that_made_the_losses():
    rng = np.random.default_rng(3)
    true, prior = rng.uniform(0, 0.5, (3, 2)), np.full((3, 2), 0.25)
    rounds, losses = [], np.array([2.0, 3.0])
    for _ in range(8):
        shares = rng.dirichlet(np.ones(3))
        after = losses * (1 - true.T @ shares)
        rounds.append((shares, losses, after))
        losses = after
    assert np.abs(refitted(prior, rounds, 1e6) - true).max() < 1e-3
    assert np.abs(refitted(prior, rounds, 1e-9) - prior).max() < 1e-6
    assert refitted(prior, [], 1.0).tolist() == prior.tolist()
    assert refitted(prior, [(shares, np.zeros(2), losses)], 1.0).tolist() == prior.tolist()


def test_a_refit_worked_by_hand():
    # one skill, prior 1, one round: the loss fell by half; (p p + 1) a = p d + 1 with p = 1, d = 0.5
    assert refitted(np.array([[1.0]]), [(np.ones(1), np.array([2.0]), np.array([1.0]))], 1.0).tolist() == [[0.75]]
