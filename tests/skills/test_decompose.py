import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.records import Prerequisites, SkillGraph
from dsa_ray.skills.decompose import Decomposition
from dsa_ray.skills.graph import GraphError, check
from dsa_ray.skills.names import match_key

Teacher = Callable[[str], list[str] | None]
"""Names of the prerequisites of a skill id; None where the teacher fails."""

SENSIBLE = {
    "calculus": ["Limit", "Derivative", "Algebra"],
    "derivative": ["Limits", "slope", "algebra"],
    "limit": ["Function", "Algebra"],
    "function": ["Number"],
    "slope": ["Number"],
}


def answer(asked: str, *names: str) -> Prerequisites:
    return Prerequisites(skill=asked, names=tuple((name, "") for name in names))


def decompose(teacher: Teacher, *, max_depth: int = 8, max_skills: int = 64, elementary=()) -> Decomposition:
    made = Decomposition("Calculus", max_depth, max_skills, elementary)
    asked: set[str] = set()
    while not made.done:
        for brief in made.pending():
            assert brief.id not in asked, "a skill was asked for twice"
            asked.add(brief.id)
            names = teacher(brief.id)
            if names is None:
                made.give_up(brief.id)
            else:
                made.accept(answer(brief.id, *names))
    assert made.pending() == []
    return made


def pairs(graph: SkillGraph) -> set[tuple[str, str]]:
    return {(edge.prerequisite, edge.skill) for edge in graph.edges}


def assert_sound(graph: SkillGraph, max_skills: int) -> None:
    assert len(graph.skills) <= max_skills
    assert check(graph) == []


def test_a_sensible_teacher_gives_the_graph_that_it_has_in_mind() -> None:
    made = decompose(lambda skill: SENSIBLE.get(skill, []))

    graph = made.graph()
    assert [(skill.id, skill.level) for skill in graph.skills] == [
        ("algebra", 0),
        ("number", 0),
        ("function", 1),
        ("slope", 1),
        ("limit", 2),
        ("derivative", 3),
        ("calculus", 4),
    ]
    assert ("limit", "derivative") in pairs(graph)
    assert {skill.id: skill.found_from for skill in graph.skills}["number"] == "function"
    assert {skill.id: skill.source for skill in graph.skills}["calculus"] == "target"
    assert made.faults == ["derivative: 1 merged, other spellings of known skills (Limits = limit)"]
    assert_sound(graph, 64)


def test_the_whole_level_is_asked_for_at_once() -> None:
    made = Decomposition("Calculus", 8, 64)
    assert [brief.name for brief in made.pending()] == ["Calculus"]

    made.accept(Prerequisites(skill="calculus", names=(("Limit", " what a value \n tends to "), ("Slope", ""))))

    assert [(brief.id, brief.description) for brief in made.pending()] == [
        ("limit", "what a value tends to"),
        ("slope", ""),
    ]
    made.accept(answer("slope", "Number"))
    assert [brief.id for brief in made.pending()] == ["limit"]
    made.give_up("limit")
    assert [brief.id for brief in made.pending()] == ["number"]


def test_skills_as_deep_as_allowed_and_elementary_ones_are_not_asked_for() -> None:
    asked: list[str] = []

    def teacher(skill: str) -> list[str]:
        asked.append(skill)
        return [f"below {skill}", "Numbers"]

    made = decompose(teacher, max_depth=2, elementary=["Number"])

    assert asked == ["calculus", "below-calculus"]
    assert [skill.id for skill in made.graph().skills] == [
        "number",
        "below-below-calculus",
        "below-calculus",
        "calculus",
    ]
    assert {skill.id: skill.name for skill in made.graph().skills}["number"] == "Number"


def test_a_target_that_is_elementary_is_asked_for_all_the_same() -> None:
    made = decompose(lambda skill: ["Limit"] if skill == "calculus" else [], elementary=["calculus", "limit"])

    assert [skill.id for skill in made.graph().skills] == ["limit", "calculus"]


def test_the_later_edge_of_a_cycle_is_dropped() -> None:
    teacher = {"calculus": ["a"], "a": ["b"], "b": ["c"], "c": ["a", "d", "Calculus"]}

    made = decompose(lambda skill: teacher.get(skill, []))

    assert pairs(made.graph()) == {("a", "calculus"), ("b", "a"), ("c", "b"), ("d", "c")}
    assert made.faults == [
        "c: 2 closing a cycle (a, Calculus)",
    ]


def test_the_skill_itself_and_names_without_letters_are_dropped() -> None:
    made = decompose(lambda skill: ["CALCULUS!", "", "🎉", "\u200b", "Limit"] if skill == "calculus" else [])

    assert [skill.id for skill in made.graph().skills] == ["limit", "calculus"]
    assert made.faults == [
        "calculus: 1 the skill itself (CALCULUS!)",
        "calculus: 3 without a letter or digit (, 🎉)",
    ]


def test_spellings_of_one_skill_become_one_skill() -> None:
    names = ["Chain rule", "chain-rule", "The Chain Rules", "CHAIN  RULE.", "1. chain rule(s)", "Chain rule"]

    graph = decompose(lambda skill: names if skill == "calculus" else []).graph()

    assert [skill.id for skill in graph.skills] == ["chain-rule", "calculus"]
    assert len(graph.edges) == 1


def test_thousands_of_names_stay_within_the_limit_and_are_told_in_one_line() -> None:
    made = decompose(lambda skill: [f"{skill} {n}" for n in range(3000)], max_skills=50)

    assert len(made.graph().skills) == 50
    assert made.faults[0] == ("calculus: 2951 beyond the limit of 50 skills (calculus 49, calculus 50, calculus 51)")
    assert len(made.faults) <= 50
    assert_sound(made.graph(), 50)


def test_a_full_graph_still_learns_how_its_skills_depend() -> None:
    made = decompose(lambda skill: {"calculus": ["a", "b"], "a": ["c", "b"]}.get(skill, []), max_skills=3)

    assert pairs(made.graph()) == {("a", "calculus"), ("b", "calculus"), ("b", "a")}


def test_a_teacher_that_never_answers_leaves_the_target_alone() -> None:
    made = decompose(lambda _: None)

    assert [skill.id for skill in made.graph().skills] == ["calculus"]
    assert made.faults == ["calculus: the teacher gave no usable answer, so it has no prerequisites"]


def test_an_endless_chain_ends_at_the_depth_and_at_the_limit() -> None:
    assert len(decompose(lambda skill: [skill + "x"], max_depth=5).graph().skills) == 6
    assert len(decompose(lambda skill: [skill + "x"], max_depth=999, max_skills=20).graph().skills) == 20


def test_one_skill_is_enough_for_a_graph() -> None:
    assert_sound(decompose(lambda _: ["a", "b"], max_skills=1).graph(), 1)


def test_the_first_answer_counts_and_later_ones_change_nothing() -> None:
    made = Decomposition("Calculus", 8, 64)
    made.accept(answer("calculus", "Limit"))
    state = made.state_dict()

    made.accept(answer("calculus", "Cooking"))
    made.give_up("calculus")

    assert made.state_dict() == state
    made.give_up("limit")
    made.accept(answer("limit", "Number"))
    assert made.done
    assert [skill.id for skill in made.graph().skills] == ["limit", "calculus"]


def test_an_answer_to_a_skill_that_is_not_known_yet_waits_for_it() -> None:
    made = Decomposition("Calculus", 8, 64)
    made.accept(answer("limit", "Number"))
    made.accept(answer("calculus", "Limit"))

    assert pairs(made.graph()) == {("limit", "calculus"), ("number", "limit")}


@pytest.mark.parametrize("target", ["", "!!!", "🎉"])
def test_a_target_without_letters_is_refused(target: str) -> None:
    with pytest.raises(GraphError, match="neither a letter nor a digit"):
        Decomposition(target, 8, 64)


def test_the_state_of_another_target_is_refused() -> None:
    with pytest.raises(GraphError, match="'algebra'"):
        Decomposition("Calculus", 8, 64).load_state_dict(Decomposition("Algebra", 8, 64).state_dict())


names = st.one_of(
    st.sampled_from(["a", "A.", "as", "b", "the b", "c", "Calculus", "d", "", "?", "e\u0301", "É"]), st.text(max_size=6)
)
teachers = st.lists(st.none() | st.lists(names, max_size=6), min_size=1, max_size=12)


def scripted(answers: list[list[str] | None]) -> Teacher:
    """Answers that depend on the skill only, whatever the order of asking."""
    return lambda skill: answers[sum(map(ord, skill)) % len(answers)]


@settings(deadline=None)
@given(answers=teachers, max_depth=st.integers(1, 6), max_skills=st.integers(1, 15))
def test_whatever_the_teacher_says_the_graph_is_sound(answers, max_depth: int, max_skills: int) -> None:
    made = decompose(scripted(answers), max_depth=max_depth, max_skills=max_skills, elementary=["d"])

    graph = made.graph()
    assert_sound(graph, max_skills)
    assert len({match_key(skill.id) for skill in graph.skills}) == len(graph.skills)


@settings(deadline=None)
@given(answers=teachers, seed=st.integers(), max_skills=st.integers(1, 15))
def test_the_order_in_which_answers_arrive_does_not_matter(answers, seed: int, max_skills: int) -> None:
    """Also with repeats, and with the state saved and loaded as JSON in between."""
    teacher, rng = scripted(answers), random.Random(seed)
    in_order = decompose(teacher, max_skills=max_skills)
    made = Decomposition("Calculus", 8, max_skills)
    given_before: list[str] = []
    while not made.done:
        skill = rng.choice(made.pending()).id
        given_before.append(skill)
        for each in (skill, rng.choice(given_before)):
            found = teacher(each)
            if found is None:
                made.give_up(each)
            else:
                made.accept(answer(each, *found))
        if rng.random() < 0.3:
            state = json.loads(json.dumps(made.state_dict()))
            made = Decomposition("Calculus", 8, max_skills)
            made.load_state_dict(state)

    assert made.graph() == in_order.graph()
    assert made.faults == in_order.faults
