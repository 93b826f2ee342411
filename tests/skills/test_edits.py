from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.skills.edits import Edit, with_edit
from dsa_ray.skills.graph import GraphError, build, check
from tests.skills.builders import a_graph

CALCULUS = a_graph("limit>calculus", "number>limit")


def test_a_skill_is_added_between_what_it_needs_and_what_needs_it() -> None:
    graph, skill = with_edit(CALCULUS, Edit(name="The Slope", prerequisites=("Numbers",), needed_by=("limit",)))
    assert skill == "the-slope"
    assert [each.id for each in graph.skills] == ["number", "the-slope", "limit", "calculus"]
    assert {edge.source for edge in graph.edges if "the-slope" in (edge.skill, edge.prerequisite)} == {"hand"}
    assert check(graph) == []


def test_without_further_words_the_target_needs_it() -> None:
    graph, _ = with_edit(CALCULUS, Edit(name="Slope"))
    assert ("slope", "calculus") in {(edge.prerequisite, edge.skill) for edge in graph.edges}


def test_an_edit_survives_its_row() -> None:
    edit = Edit(name="a", description="b", prerequisites=("c",), needed_by=("d", "e"))
    assert Edit.from_row(edit.row()) == edit


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(json_values | st.fixed_dictionaries({"skill": json_values, "prerequisites": json_values}))
def test_any_row_is_an_edit_of_the_graph_or_refused(row: object) -> None:
    try:
        graph, _ = with_edit(CALCULUS, Edit.from_row(row))
    except GraphError:
        return
    assert check(graph) == []


def test_the_target_cannot_come_before_a_new_skill() -> None:
    with pytest.raises(GraphError, match="cycle"):
        with_edit(CALCULUS, Edit(name="Slope", prerequisites=("calculus",)))


def test_a_name_that_several_skills_have_is_to_be_said_by_its_id() -> None:
    graph = a_graph("p-sampling>p", "b-sampling>b", "p>science", "b>science", target="science", groups=("p", "b"))
    skills = [replace(skill, name="Sampling") if skill.id.endswith("sampling") else skill for skill in graph.skills]
    graph = build(graph.target, skills, graph.edges)
    with pytest.raises(GraphError, match="'Samplings': is the name of b-sampling, p-sampling; say which by its id"):
        with_edit(graph, Edit(name="Surveys", prerequisites=("Samplings",)))
    made, _ = with_edit(graph, Edit(name="Surveys", prerequisites=("p-sampling",)))
    assert ("p-sampling", "surveys") in {(edge.prerequisite, edge.skill) for edge in made.edges}
