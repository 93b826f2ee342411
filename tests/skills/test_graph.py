import dataclasses
import json
import random

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsa_ray.records import Edge, Skill, SkillGraph
from dsa_ray.skills.graph import (
    GraphError,
    ancestors_of,
    apart,
    briefs,
    build,
    check,
    dependants_of,
    descendants_of,
    extra_fields,
    from_node_link,
    headings,
    learning_order,
    prerequisites,
    prerequisites_of,
    to_networkx,
    to_node_link,
)
from dsa_ray.skills.names import match_key
from tests.skills.builders import a_graph
from tests.skills.builders import graphs as graphs_with_groups

CALCULUS = a_graph("limit>derivative", "derivative>calculus", "limit>calculus", "number>limit", "function>limit")


@st.composite
def graphs(draw: st.DrawFn) -> SkillGraph:
    """Random directed acyclic graphs in random order; the target may be anywhere."""
    count = draw(st.integers(1, 9))
    texts = st.text(max_size=5)
    skills = [
        Skill(
            id=f"s{n}",
            name=draw(texts),
            description=draw(texts),
            source=draw(st.sampled_from(["teacher", "syllabus", "hand"])),
            found_from=draw(st.none() | st.just("s0")),
        )
        for n in range(count)
    ]
    edges = [
        Edge(prerequisite=f"s{before}", skill=f"s{after}", source=draw(st.sampled_from(["teacher", "hand"])))
        for after in range(count)
        for before in range(after)
        if draw(st.booleans())
    ]
    return build(f"s{draw(st.integers(0, count - 1))}", draw(st.permutations(skills)), draw(st.permutations(edges)))


@settings(deadline=None)
@given(graph=graphs())
def test_a_level_is_one_more_than_the_highest_prerequisite(graph: SkillGraph) -> None:
    levels = {skill.id: skill.level for skill in graph.skills}
    before = prerequisites(graph)

    for skill, level in levels.items():
        assert level == max((levels[other] + 1 for other in before[skill]), default=0)


@settings(deadline=None)
@given(graph=graphs())
def test_every_skill_is_learned_after_its_prerequisites_and_ties_go_by_name(graph: SkillGraph) -> None:
    place = {skill: number for number, skill in enumerate(learning_order(graph))}

    assert all(place[edge.prerequisite] < place[edge.skill] for edge in graph.edges)
    assert list(graph.skills) == sorted(graph.skills, key=lambda skill: (skill.level, skill.name, skill.id))


@settings(deadline=None)
@given(graph=graphs(), seed=st.integers())
def test_the_order_in_which_skills_and_edges_are_given_does_not_matter(graph: SkillGraph, seed: int) -> None:
    skills, edges = list(graph.skills), list(graph.edges)
    random.Random(seed).shuffle(skills)
    random.Random(seed).shuffle(edges)

    assert build(graph.target, skills, edges) == graph


@settings(deadline=None)
@given(graph=graphs())
def test_a_graph_comes_back_equal_from_json(graph: SkillGraph) -> None:
    assert from_node_link(json.loads(json.dumps(to_node_link(graph)))) == graph


@settings(deadline=None)
@given(graph=graphs())
def test_a_built_graph_has_no_fault_but_orphans_and_names(graph: SkillGraph) -> None:
    for fault in check(graph):
        assert "orphan" in fault or "has no name" in fault or "spellings" in fault


def test_neighbours_near_and_far_come_in_learning_order() -> None:
    assert learning_order(CALCULUS) == ("function", "number", "limit", "derivative", "calculus")
    assert prerequisites_of(CALCULUS, "calculus") == ("limit", "derivative")
    assert dependants_of(CALCULUS, "limit") == ("derivative", "calculus")
    assert ancestors_of(CALCULUS, "derivative") == ("function", "number", "limit")
    assert descendants_of(CALCULUS, "number") == ("limit", "derivative", "calculus")
    assert prerequisites(CALCULUS)["limit"] == ("function", "number")


@pytest.mark.parametrize("ask", [prerequisites_of, dependants_of, ancestors_of, descendants_of])
def test_asking_about_an_unknown_skill_is_an_error(ask) -> None:
    with pytest.raises(GraphError, match="cooking"):
        ask(CALCULUS, "cooking")


def test_briefs_name_the_prerequisites() -> None:
    brief = briefs(CALCULUS)["limit"]

    assert (brief.name, brief.prerequisites, brief.level) == ("Limit", ("Function", "Number"), 1)
    assert list(briefs(CALCULUS)) == list(learning_order(CALCULUS))


@pytest.mark.parametrize(
    ("skills", "edges", "says"),
    [
        (["a", "a"], [], "a: 2 skills have this id"),
        (["a", ""], [], "empty id"),
        (["b"], [], "a: the target is not among the skills"),
        (["a"], [("b", "a")], "b -> a: the graph has no skill 'b'"),
        (["a"], [("a", "b")], "a -> b: the graph has no skill 'b'"),
        (["a", "b"], [("b", "a"), ("b", "a")], "b -> a: 2 times"),
        (["a"], [("a", "a")], "cycle: a -> a"),
        (["a", "b", "c"], [("a", "b"), ("b", "c"), ("c", "a")], "cycle: . -> . -> . -> ."),
    ],
)
def test_what_is_no_graph_is_refused_in_one_line(skills: list[str], edges: list[tuple[str, str]], says: str) -> None:
    nodes = [Skill(id=skill, name=skill) for skill in skills]
    links = [Edge(prerequisite=before, skill=after) for before, after in edges]

    with pytest.raises(GraphError, match=says) as refusal:
        build("a", nodes, links)

    assert "\n" not in str(refusal.value)
    assert check(SkillGraph(target="a", skills=tuple(nodes), edges=tuple(links)))[0] == str(refusal.value)


def test_check_finds_orphans_and_skills_in_two_spellings() -> None:
    graph = a_graph("limit>calculus", "limits>calculus", "calculus>analysis", alone=("cooking",))

    assert check(graph) == [
        "limit, limits: one skill in 2 spellings",
        "cooking: orphan, calculus does not need it",
        "analysis: orphan, calculus does not need it",
    ]


def test_one_name_may_stand_below_different_headings_and_for_a_heading_and_a_skill() -> None:
    names = {"sampling": "Sampling", "other": "sampling", "third": "Samplings", "heading": "Sampling"}

    def faults(*links: str, groups: tuple[str, ...] = ("physics", "biology")) -> list[str]:
        graph = a_graph(*links, target="science", groups=groups)
        skills = [dataclasses.replace(skill, name=names.get(skill.id, skill.name)) for skill in graph.skills]
        return check(build("science", skills, graph.edges))

    below = ("physics>science", "biology>science")
    assert faults("sampling>physics", "other>biology", *below) == []
    assert faults("sampling>physics", "other>physics", *below) == ["sampling, other: one skill in 2 spellings"]
    assert faults("sampling>physics", "other>biology", "third>physics", *below) == [
        "sampling, third: one skill in 2 spellings"
    ]
    assert faults("sampling>physics", "other>science", *below) == ["sampling, other: one skill in 2 spellings"]
    assert faults("sampling>heading", "heading>science", groups=("heading",)) == []


@given(graph=graphs_with_groups(st.sampled_from(["Sampling", "samplings", "Other"]), most=6))
def test_skills_of_one_name_are_a_fault_unless_each_is_apart_from_every_other(graph: SkillGraph) -> None:
    over = headings(graph)
    same = {
        one.id
        for one in graph.skills
        for other in graph.skills
        if one is not other and match_key(one.name) == match_key(other.name) and not apart(one, other, over)
    }
    told = [fault.split(": ")[0].split(", ") for fault in check(graph) if "spellings" in fault]
    assert sorted(id for ids in told for id in ids) == sorted(same)


def test_check_finds_wrong_levels_and_wrong_order() -> None:
    wrong_level = [Skill(id=s.id, name=s.name, level=7) if s.id == "limit" else s for s in CALCULUS.skills]
    shuffled = SkillGraph(target="calculus", skills=CALCULUS.skills[::-1], edges=CALCULUS.edges)

    assert check(SkillGraph(target="calculus", skills=tuple(wrong_level), edges=CALCULUS.edges)) == [
        "limit: level 7, but its prerequisites make it 1"
    ]
    assert check(shuffled) == ["the skills are not in learning order (level, then name)"]


def test_check_names_every_cycle_once() -> None:
    links = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
    graph = SkillGraph(
        target="a",
        skills=tuple(Skill(id=skill, name=skill) for skill in "abcd"),
        edges=tuple(Edge(prerequisite=before, skill=after) for before, after in links),
    )

    assert len(check(graph)) == 2


def test_node_link_carries_level_provenance_and_the_callers_fields() -> None:
    data = to_node_link(CALCULUS, {"limit": {"accuracy": 0.75, "exercises": 12}})

    node = next(node for node in data["nodes"] if node["id"] == "limit")
    assert node == {
        "id": "limit",
        "name": "Limit",
        "description": "",
        "level": 1,
        "source": "teacher",
        "found_from": None,
        "request": None,
        "generator": "",
        "proposals": 1,
        "accuracy": 0.75,
        "exercises": 12,
    }
    assert {
        "source": "limit",
        "target": "calculus",
        "found_by": "teacher",
        "request": None,
        "generator": "",
        "proposals": 1,
    } in data["edges"]
    assert data["graph"] == {"target": "calculus"}
    assert from_node_link(data) == CALCULUS
    assert extra_fields(data) == {"limit": {"accuracy": 0.75, "exercises": 12}}


def test_networkx_reads_what_is_written_and_the_other_way_round() -> None:
    network = nx.node_link_graph(to_node_link(CALCULUS), edges="edges")
    assert nx.utils.graphs_equal(nx.DiGraph(network.edges), nx.DiGraph(to_networkx(CALCULUS).edges))
    assert network.nodes["limit"]["level"] == 1

    assert from_node_link(nx.node_link_data(network, edges="links")) == CALCULUS


@pytest.mark.parametrize("extra", [{"cooking": {"accuracy": 1}}, {"limit": {"level": 9}}])
def test_fields_that_fit_nowhere_are_refused(extra: dict) -> None:
    with pytest.raises(GraphError, match=r"cooking|level"):
        to_node_link(CALCULUS, extra)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "'graph' is missing"),
        ({"graph": {}}, "'target' is missing"),
        ({"graph": {"target": "a"}}, "'nodes' is missing"),
        ({"graph": {"target": "a"}, "nodes": [{"id": "a"}]}, "'links' is missing"),
        ({"graph": {"target": "a"}, "nodes": [{}], "edges": []}, "'id' is missing"),
        ({"graph": {"target": "a"}, "nodes": [{"id": 1}], "edges": []}, "wrong shape"),
        ({"graph": {"target": "a"}, "nodes": ["a"], "edges": []}, "wrong shape"),
        ({"graph": {"target": "a"}, "nodes": [{"id": "a"}], "edges": [{"source": "a"}]}, "'target' is missing"),
        ({"graph": {"target": "a"}, "nodes": [{"id": "a"}], "edges": [{"source": [], "target": "a"}]}, "wrong shape"),
        ({"graph": {"target": "b"}, "nodes": [{"id": "a"}], "edges": []}, "the target is not among the skills"),
        ([], "wrong shape"),
        (None, "wrong shape"),
    ],
)
def test_data_that_is_no_graph_is_refused_in_one_line(data, says: str) -> None:
    with pytest.raises(GraphError, match=says) as refusal:
        from_node_link(data)

    assert "\n" not in str(refusal.value)


def test_a_graph_written_by_hand_needs_ids_and_edges_only() -> None:
    graph = from_node_link(
        {"graph": {"target": "b"}, "nodes": [{"id": "b"}, {"id": "a"}], "edges": [{"source": "a", "target": "b"}]}
    )

    assert [(skill.id, skill.name, skill.level) for skill in graph.skills] == [("a", "a", 0), ("b", "b", 1)]
