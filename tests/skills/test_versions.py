import dataclasses

import pytest
from hypothesis import given

from dsa_ray.records import Edge, Skill, SkillGraph
from dsa_ray.skills.graph import GraphError, build, check
from dsa_ray.skills.versions import diff, merge
from tests.skills.builders import a_graph, graphs

OLD = a_graph("limit>calculus", "number>limit")


def test_a_diff_names_what_came_went_and_changed() -> None:
    new = a_graph("limit>calculus", "function>limit", "sequence>limit")
    skills = [dataclasses.replace(s, name="Limits") if s.id == "limit" else s for s in new.skills]
    new = build("calculus", skills, new.edges)
    assert diff(OLD, new).lines() == [
        "+ function",
        "+ sequence",
        "- number",
        "~ limit: name 'Limit' -> 'Limits'",
        "+ function -> limit",
        "+ sequence -> limit",
        "- number -> limit",
    ]
    assert not diff(OLD, OLD)


def test_another_target_is_a_difference() -> None:
    assert diff(OLD, build("limit", OLD.skills, OLD.edges)).lines() == ["~ target calculus -> limit"]


def test_a_merge_has_the_skills_and_edges_of_both() -> None:
    both, notes = merge(OLD, a_graph("limit>calculus", "function>limit"))
    assert [skill.id for skill in both.skills] == ["function", "number", "limit", "calculus"]
    assert len(both.edges) == 3
    assert notes == []


def test_another_spelling_is_taken_for_the_skill_that_is_there() -> None:
    both, notes = merge(OLD, a_graph("the-limits>calculus", "function>the-limits"))
    assert {skill.id for skill in both.skills} == {"function", "number", "limit", "calculus"}
    assert notes == ["the-limits: taken for limit, another spelling"]


def test_contradicting_edges_are_resolved_by_evidence_and_reported() -> None:
    skills = [Skill(id=name, name=name) for name in ("calculus", "limit", "number")]
    theirs = build(
        "calculus",
        skills,
        [
            Edge(prerequisite="limit", skill="number", proposals=4),
            Edge(prerequisite="number", skill="calculus"),
        ],
    )
    both, notes = merge(OLD, theirs)
    assert [skill.id for skill in both.skills] == ["limit", "number", "calculus"]
    assert notes == ["number -> limit: dropped, it closes a cycle with stronger edges"]
    assert check(both) == []


def test_a_graph_in_which_the_target_is_a_prerequisite_leads_further() -> None:
    both, notes = merge(OLD, a_graph("calculus>physics", "waves>physics", target="physics"))
    assert both.target == "physics"
    assert check(both) == []
    assert notes == ["physics: the target from now on, calculus is needed for it"]
    assert merge(both, OLD)[0].target == "physics"


def test_graphs_that_lead_to_nothing_in_common_are_not_merged() -> None:
    with pytest.raises(GraphError, match="different targets"):
        merge(OLD, a_graph("flour>bread", target="bread"))


@given(graphs(), graphs())
def test_a_merge_is_sound_and_holds_every_skill(ours: SkillGraph, theirs: SkillGraph) -> None:
    both, notes = merge(ours, theirs)
    ids = {skill.id for skill in both.skills}
    assert ids >= {skill.id for skill in ours.skills}
    assert both.target == (ours.target if theirs.target in {skill.id for skill in ours.skills} else theirs.target)
    assert {fault for fault in check(both) if "orphan" in fault} <= set(notes)  # where edges contradict each other
    assert merge(ours, ours)[0] == ours
