import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.records import Edge, Prerequisites, Skill, SkillGraph
from dsa_ray.skills.decompose import Decomposition
from dsa_ray.skills.graph import GraphError, build, check
from dsa_ray.skills.names import match_key
from dsa_ray.skills.similar import SimilarSpelling
from tests.skills.builders import a_graph, graphs

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


def test_every_skill_and_edge_tells_who_proposed_it_and_how_often() -> None:
    made = Decomposition("Calculus", 8, 64)
    made.accept(answer("calculus", "Limit", "Slope"), request=1, generator="big/model@0")
    made.accept(answer("limit", "Number", "Numbers"), request=2, generator="big/model@0")
    made.accept(answer("slope", "Number", "Limit"), request=3, generator="big/model@1")
    made.accept(answer("number"), request=4)

    graph = made.graph()
    skills = {skill.id: skill for skill in graph.skills}
    number = skills["number"]
    assert (number.request, number.generator, number.proposals, number.found_from) == (2, "big/model@0", 2, "limit")
    assert skills["limit"].proposals == 2
    edges = {(edge.prerequisite, edge.skill): edge for edge in graph.edges}
    assert (edges["number", "slope"].request, edges["number", "slope"].generator) == (3, "big/model@1")


def test_a_skill_asked_about_several_times_keeps_what_is_said_more_often() -> None:
    made = Decomposition("Calculus", 8, 64, queries=3)
    assert [question.nth for question in made.questions()] == [0, 1, 2]
    for names in (["Limit", "Slope"], ["Limit", "Slope"], ["Slope"]):
        made.accept(answer("calculus", *names))
    made.accept(answer("limit", "Slope"))
    made.give_up("limit")
    made.give_up("limit")
    for _ in range(3):
        made.accept(answer("slope", "Limit"))

    graph = made.graph()
    assert {(edge.prerequisite, edge.skill): edge.proposals for edge in graph.edges} == {
        ("limit", "calculus"): 2,
        ("slope", "calculus"): 3,
        ("limit", "slope"): 3,
    }
    assert made.faults == ["limit: 1 closing a cycle (Slope)"]


def test_questions_are_handed_out_once() -> None:
    made = Decomposition("Calculus", 8, 64)
    assert [question.brief.id for question in made.questions()] == ["calculus"]
    assert made.questions() == []
    made.accept(answer("calculus", "Limit", "Slope"))
    assert [question.brief.id for question in made.questions()] == ["limit", "slope"]


def test_nearly_equal_names_become_one_skill_where_that_is_wanted() -> None:
    made = Decomposition("Calculus", 8, 64, similar=SimilarSpelling(0.9))
    made.accept(answer("calculus", "Antidifferentiation", "Antidiferentiation", "Microeconomics", "Macroeconomics"))

    assert {skill.id for skill in made.graph().skills} == {
        "calculus",
        "antidifferentiation",
        "microeconomics",
        "macroeconomics",
    }
    assert made._faults == ["calculus: 1 merged, similar to known skills (Antidiferentiation = antidifferentiation)"]


def test_a_syllabus_goes_in_first_and_wins_where_the_teacher_contradicts_it() -> None:
    made = Decomposition("Calculus", 8, 64)
    syllabus = build(
        "calculus",
        [Skill(id=name, name=name, source="syllabus") for name in ("calculus", "limit", "number")],
        [Edge(prerequisite=a, skill=b, source="syllabus") for a, b in (("limit", "calculus"), ("number", "limit"))],
    )
    made.start_from(syllabus, ask=True)
    assert {brief.id for brief in made.pending()} == {"calculus", "limit", "number"}
    made.accept(answer("calculus", "Limits", "Slope"))
    made.accept(answer("limit"))
    made.accept(answer("number", "Limit"))
    made.accept(answer("slope", "Number"))

    graph = made.graph()
    assert pairs(graph) == {("limit", "calculus"), ("slope", "calculus"), ("number", "limit"), ("number", "slope")}
    sources = {(edge.prerequisite, edge.skill): (edge.source, edge.proposals) for edge in graph.edges}
    assert sources["limit", "calculus"] == ("syllabus", 2)
    assert made.faults[-1] == "number: 1 closing a cycle (limit)"


def test_below_a_file_only_what_has_no_prerequisites_is_asked_about() -> None:
    made = Decomposition("Calculus", 8, 64)
    made.start_from(a_graph("limit>calculus", "number>limit", "slope>calculus"), ask=False)

    assert [brief.id for brief in made.pending()] == ["slope", "number"]
    made.give_up("slope")
    made.accept(answer("number", "Counting"))
    made.give_up("counting")
    assert ("counting", "number") in pairs(made.graph())


def test_a_skill_whose_edges_are_all_contradicted_stays_below_the_target() -> None:
    made = Decomposition("Calculus", 8, 64, queries=2)
    for _ in range(2):
        made.accept(answer("calculus", "b"))
    made.accept(answer("b", "a"))
    made.give_up("b")
    for _ in range(2):
        made.accept(answer("a", "b"))

    assert pairs(made.graph()) == {("b", "calculus"), ("b", "a"), ("a", "calculus")}
    assert made.faults[-1] == "a: nothing needs it without dropped edges, so it is put below the target"


@settings(deadline=None)
@given(answers=teachers, seed=st.integers(), queries=st.integers(1, 3), start=graphs())
def test_with_a_syllabus_and_several_questions_the_graph_is_sound_too(answers, seed, queries, start) -> None:
    rng = random.Random(seed)
    made = Decomposition(start.target, 5, 12, queries=queries, similar=SimilarSpelling(0.8))
    made.start_from(start, ask=rng.random() < 0.5)
    for _ in range(200):
        if made.done:
            break
        skill = rng.choice(made.pending()).id
        found = rng.choice(answers)
        made.give_up(skill) if found is None else made.accept(answer(skill, *found))
    assert made.done
    assert len(made.graph().skills) <= 12
    assert [fault for fault in check(made.graph()) if "spellings" not in fault and "no name" not in fault] == []
