import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.dynamics.decisions import ExerciseFacts, Policy
from dsa_ray.records import Action, Decision, Kind, Order, Verdict, VerdictClass
from dsa_ray.sections import DynamicsConfig

EASY, HARD, WRONG, AMBIGUOUS = (
    VerdictClass.EASY,
    VerdictClass.HARD,
    VerdictClass.ERRONEOUS,
    VerdictClass.AMBIGUOUS,
)


def policy(**values) -> Policy:
    return Policy(DynamicsConfig(**values))


def decide(by: Policy, exercise: int, verdict: VerdictClass, skills: str = "a", **values) -> Decision:
    """`skills` is one letter per skill."""
    cycle, step = values.pop("cycle", 0), values.pop("step", 1)
    facts = ExerciseFacts(
        **{"kind": Kind.EXERCISE, "skills": tuple(skills), "difficulty": 2, "dropped_share": 0.05, **values}
    )
    given = Verdict(
        exercise=exercise, cycle=cycle, step=step, verdict=verdict, mean_loss=0.0, loss_spread=0.0, reason=""
    )
    return by.decide(given, facts)


def test_an_ambiguous_one_is_kept():
    decision = decide(policy(), 1, AMBIGUOUS)
    assert (decision.actions, decision.weight, decision.orders) == ((Action.KEEP,), 1.0, ())


def test_an_erroneous_one_is_dropped_and_stays_dropped():
    deciding = policy()
    assert decide(deciding, 1, WRONG) == Decision(exercise=1, cycle=0, actions=(Action.DROP,), weight=0.0)
    later = decide(deciding, 1, EASY, cycle=1)
    assert (later.actions, later.weight, later.orders, later.reason) == ((Action.DROP,), 0.0, (), "dropped_before")


def test_the_drop_cap_keeps_what_looks_erroneous():
    deciding = policy(drop_cap=0.1)
    assert decide(deciding, 1, WRONG, dropped_share=0.1).actions == (Action.DROP,)
    capped = decide(deciding, 2, WRONG, dropped_share=0.101)
    assert (capped.actions, capped.weight) == ((Action.KEEP,), 1.0)
    assert capped.reason.startswith("drop_cap")


def test_the_drop_cap_is_never_exceeded():
    deciding, dropped = policy(drop_cap=0.1), 0
    for exercise in range(1000):
        decision = decide(deciding, exercise, WRONG, dropped_share=(dropped + 1) / 1000)
        dropped += Action.DROP in decision.actions
    assert dropped == 100


def test_a_hard_one_orders_variants_of_itself():
    decision = decide(policy(variants=2), 7, HARD, "ab", difficulty=3)
    order = Order(kind=Kind.VARIANT, skills=("a", "b"), difficulty=3, parents=(7,))
    assert decision == Decision(exercise=7, cycle=0, actions=(Action.AUGMENT,), weight=1.0, orders=(order, order))


def test_where_skills_stay_hard_a_ladder_takes_the_place_of_variants_and_of_easier_ones():
    deciding = policy(variants=2, easier=1)
    assert decide(deciding, 1, HARD, stays_hard=True) == Decision(
        exercise=1, cycle=0, actions=(Action.LADDER,), weight=1.0, reason="stays_hard"
    )
    assert decide(deciding, 1, HARD).reason == "ordered_before"  # the same verdict derived again
    assert decide(deciding, 2, HARD, kind=Kind.VARIANT, stays_hard=True).orders == ()
    assert decide(deciding, 3, EASY, stays_hard=True).actions == (Action.DOWN_WEIGHT,)
    assert decide(deciding, 4, HARD, replay=True, stays_hard=True).actions == (Action.KEEP,)


def test_without_variants_a_hard_one_is_kept():
    assert decide(policy(variants=0), 7, HARD).actions == (Action.KEEP,)


def test_the_first_easy_one_waits_with_less_weight():
    deciding = policy(easy_weight=0.25)
    decision = decide(deciding, 1, EASY)
    assert (decision.actions, decision.weight, decision.orders) == ((Action.DOWN_WEIGHT,), 0.25, ())
    assert decision.reason == "waiting"
    assert deciding.waiting == 1


def test_two_easy_ones_of_different_skills_are_composed():
    deciding = policy()
    decide(deciding, 1, EASY, "a", difficulty=4)
    decision = decide(deciding, 2, EASY, "b", difficulty=1)
    assert decision.actions == (Action.DOWN_WEIGHT, Action.COMPOSE)
    assert decision.weight == 0.5
    assert decision.orders == (Order(kind=Kind.COMPOSED, skills=("a", "b"), difficulty=5, parents=(1, 2)),)
    assert deciding.waiting == 0


def test_with_the_composed_one_each_easy_one_gets_harder_ones_of_its_own():
    deciding = policy(harder=2, max_difficulty=4)
    decide(deciding, 1, EASY, "a", difficulty=3)
    composed, *harder = decide(deciding, 2, EASY, "b", difficulty=1).orders
    assert composed == Order(kind=Kind.COMPOSED, skills=("a", "b"), difficulty=4, parents=(1, 2))
    first = Order(kind=Kind.HARDER, skills=("a",), difficulty=4, parents=(1,))
    second = Order(kind=Kind.HARDER, skills=("b",), difficulty=2, parents=(2,))
    assert harder == [first, first, second, second]
    assert decide(deciding, 1, EASY, "a", cycle=1, difficulty=3).orders == (), "once for each class"


@pytest.mark.parametrize("verdict", [EASY, HARD, AMBIGUOUS])
def test_replay_is_neither_lightened_nor_built_upon(verdict):
    deciding = policy(variants=2)
    decision = decide(deciding, 1, verdict, replay=True)
    assert decision == Decision(exercise=1, cycle=0, actions=(Action.KEEP,), weight=1.0, reason="replay")
    assert decide(deciding, 2, EASY, "b").orders == (), "it waits for no partner"


def test_wrong_replay_is_dropped():
    assert decide(policy(), 1, WRONG, replay=True).actions == (Action.DROP,)


def test_at_the_highest_difficulty_there_is_nothing_harder():
    deciding = policy(harder=1, max_difficulty=3)
    decide(deciding, 1, EASY, "a", difficulty=3)
    kinds = [order.kind for order in decide(deciding, 2, EASY, "b", difficulty=3).orders]
    assert kinds == [Kind.COMPOSED]


def test_difficulty_stops_at_its_limit():
    deciding = policy(max_difficulty=3)
    decide(deciding, 1, EASY, "a", difficulty=3)
    assert decide(deciding, 2, EASY, "b", difficulty=3).orders[0].difficulty == 3


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("ab", "bc", "abc"), ("ab", "cd", "abc"), ("abc", "d", "abd"), ("abc", "cd", "abd"), ("a", "bcd", "abc")],
)
def test_a_composed_one_needs_at_most_three_skills_and_some_of_each(first, second, expected):
    deciding = policy()
    decide(deciding, 1, EASY, first)
    assert decide(deciding, 2, EASY, second).orders[0].skills == tuple(expected)


def test_where_the_same_skills_wait_a_harder_one_is_ordered_and_the_other_waits_on():
    deciding = policy()
    decide(deciding, 1, EASY, "ab")
    decision = decide(deciding, 2, EASY, "ba")
    assert decision.orders == (Order(kind=Kind.HARDER, skills=("b", "a"), difficulty=3, parents=(2,)),)
    assert deciding.waiting == 1
    assert decide(deciding, 3, EASY, "c").orders[0].parents == (1, 3)


def test_at_the_highest_difficulty_equals_wait_together():
    deciding = policy()
    for exercise in (1, 2, 3):
        assert decide(deciding, exercise, EASY, "a", difficulty=5).orders == ()
    partners = [decide(deciding, exercise, EASY, "b", difficulty=5).orders[0].parents for exercise in (4, 5, 6)]
    assert partners == [(1, 4), (2, 5), (3, 6)]


def test_a_partner_must_bring_a_skill_and_find_one():
    deciding = policy()
    decide(deciding, 1, EASY, "a")
    assert decide(deciding, 2, EASY, "ab").orders == ()
    assert deciding.waiting == 2


def test_the_longest_waiting_partner_comes_first():
    deciding = policy()
    decide(deciding, 9, EASY, "ab", step=1)
    decide(deciding, 1, EASY, "a", step=2)
    assert decide(deciding, 2, EASY, "c", step=3).orders[0].parents == (9, 2)


def test_children_are_ordered_once_for_each_class():
    deciding = policy()
    assert decide(deciding, 1, HARD).orders
    second = decide(deciding, 1, HARD, cycle=1)
    assert (second.orders, second.actions, second.reason) == ((), (Action.KEEP,), "ordered_before")
    decide(deciding, 2, EASY, "b")
    assert decide(deciding, 1, EASY, cycle=2).orders
    assert decide(deciding, 1, EASY, cycle=3).orders == ()
    assert decide(deciding, 2, EASY, "b", cycle=1).orders == (), "it is a parent already"


def test_an_easy_one_that_waits_does_not_wait_twice():
    deciding = policy()
    decide(deciding, 1, EASY, "a")
    assert decide(deciding, 1, EASY, "a", cycle=1).reason == "waiting"
    assert deciding.waiting == 1


@pytest.mark.parametrize("verdict", [HARD, WRONG, AMBIGUOUS])
def test_one_that_is_no_longer_easy_stops_waiting(verdict):
    deciding = policy()
    decide(deciding, 1, EASY, "a")
    decide(deciding, 1, verdict, "a", cycle=1)
    assert deciding.waiting == 0
    assert decide(deciding, 2, EASY, "b").orders == ()


def test_only_exercises_have_consequences():
    with pytest.raises(ValueError, match="textbook"):
        decide(policy(), 1, EASY, kind=Kind.TEXTBOOK)


def test_a_verdict_derived_again_orders_nothing_again():
    deciding = policy()
    assert decide(deciding, 1, HARD, step=9).orders
    decide(deciding, 2, EASY, "a", step=5)
    assert decide(deciding, 3, EASY, "b", step=9).orders
    deciding.void_after(5)
    assert decide(deciding, 1, HARD, step=9).orders == ()
    assert decide(deciding, 1, EASY, step=9).orders == (), "not even by another class of the same cycle"
    assert decide(deciding, 3, EASY, "b", step=9).orders == ()
    assert decide(deciding, 2, EASY, "a", step=9).orders == ()


def test_voided_verdicts_neither_drop_nor_wait():
    deciding = policy()
    decide(deciding, 1, WRONG, step=3)
    decide(deciding, 2, WRONG, step=8)
    decide(deciding, 3, EASY, step=8)
    deciding.void_after(5)
    assert deciding.waiting == 0
    assert decide(deciding, 1, AMBIGUOUS, cycle=1, step=9).weight == 0.0
    assert decide(deciding, 2, AMBIGUOUS, step=9).weight == 1.0


def test_a_resumed_policy_learns_of_children_from_the_journal():
    deciding = policy()
    decide(deciding, 1, EASY, "a", step=3)
    deciding.remember((2, 0), Kind.COMPOSED, (1, 2))
    deciding.remember((5, 0), Kind.VARIANT, (5,))
    assert deciding.waiting == 0
    assert decide(deciding, 1, EASY, "a", cycle=1).orders == ()
    assert decide(deciding, 2, EASY, "b").orders == ()
    assert decide(deciding, 5, HARD).orders == ()


VERDICTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 2), st.sampled_from(VerdictClass), st.sampled_from(["a", "b", "ab"])),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(before=VERDICTS, after=VERDICTS)
def test_a_policy_continues_from_its_state(before, after):
    straight, resumed = policy(), policy()
    for exercise, cycle, verdict, skills in before:
        decide(straight, exercise, verdict, skills, cycle=cycle)
    state = straight.state_dict()
    assert all(value.dtype != object for value in state.values())
    resumed.load_state_dict({key: np.array(value) for key, value in state.items()})
    for exercise, cycle, verdict, skills in after:
        values = {"cycle": cycle}
        assert decide(straight, exercise, verdict, skills, **values) == decide(
            resumed, exercise, verdict, skills, **values
        )


@settings(max_examples=60, deadline=None)
@given(verdicts=VERDICTS)
def test_no_exercise_and_cycle_orders_twice_and_no_easy_one_is_a_parent_twice(verdicts):
    deciding, causes, easy_parents = policy(), [], []
    for exercise, cycle, verdict, skills in verdicts:
        decision = decide(deciding, exercise, verdict, skills, cycle=cycle)
        causes += [(exercise, cycle)] * bool(decision.orders)
        easy_parents += [p for order in decision.orders if order.kind is not Kind.VARIANT for p in order.parents]
    assert len(causes) == len(set(causes))
    assert len(easy_parents) == len(set(easy_parents))


def easier_than(exercise: int, skills: str, difficulty: int) -> Order:
    return Order(kind=Kind.EASIER, skills=tuple(skills), difficulty=difficulty, parents=(exercise,))


def test_a_variant_that_is_hard_itself_orders_an_easier_one_instead_of_another_variant():
    decision = decide(policy(easier=1), 7, HARD, "ab", kind=Kind.VARIANT, difficulty=3)
    assert (decision.actions, decision.orders) == ((Action.AUGMENT,), (easier_than(7, "ab", 2),))
    assert decision.reason == "step_down"


def test_one_that_is_hard_again_after_its_variants_steps_down_once():
    deciding = policy(easier=2)
    assert decide(deciding, 7, HARD).orders[0].kind is Kind.VARIANT
    assert decide(deciding, 7, HARD, cycle=1).orders == (easier_than(7, "a", 1),) * 2
    assert decide(deciding, 7, HARD, cycle=2).reason == "ordered_before"


def test_there_is_nothing_easier_than_the_lowest_difficulty_and_nothing_without_leave():
    assert decide(policy(easier=1), 7, HARD, kind=Kind.VARIANT, difficulty=1).orders[0].kind is Kind.VARIANT
    assert decide(policy(), 7, HARD, kind=Kind.VARIANT).orders[0].kind is Kind.VARIANT


def test_a_step_down_is_remembered_in_state_and_from_the_journal():
    deciding, restored, told = policy(easier=1), policy(easier=1), policy(easier=1)
    decide(deciding, 7, HARD, kind=Kind.VARIANT)
    restored.load_state_dict(deciding.state_dict())
    told.remember((7, 0), Kind.EASIER, (7,))
    for by in (restored, told):
        assert decide(by, 7, HARD, kind=Kind.VARIANT, cycle=1).reason == "ordered_before"
