import networkx as nx
import pytest
from hypothesis import given

from dsa_ray.records import SkillGraph
from dsa_ray.skills.algorithms import frontier, groups_by_level, reduced
from dsa_ray.skills.graph import GraphError, learning_order, to_networkx
from tests.skills.builders import a_graph, graphs

CALCULUS = a_graph("limit>derivative", "derivative>calculus", "limit>calculus", "number>limit", "function>limit")


def test_an_edge_that_a_longer_path_implies_is_left_out() -> None:
    links = {(edge.prerequisite, edge.skill) for edge in reduced(CALCULUS).edges}
    assert ("limit", "calculus") not in links
    assert len(links) == 4


@given(graphs())
def test_a_reduced_graph_has_the_same_ancestors_levels_and_order(graph: SkillGraph) -> None:
    small, whole = to_networkx(reduced(graph)), to_networkx(graph)
    assert all(nx.ancestors(small, skill) == nx.ancestors(whole, skill) for skill in whole)
    assert reduced(graph).skills == graph.skills


def test_the_frontier_is_what_can_be_learned_next() -> None:
    assert frontier(CALCULUS, []) == ("function", "number")
    assert frontier(CALCULUS, ["number"]) == ("function",)
    assert frontier(CALCULUS, ["number", "function", "limit"]) == ("derivative",)
    assert frontier(CALCULUS, learning_order(CALCULUS)) == ()


def test_an_unknown_mastered_skill_is_named() -> None:
    with pytest.raises(GraphError, match="cooking"):
        frontier(CALCULUS, ["cooking"])


@given(graphs())
def test_whoever_learns_the_frontier_again_and_again_learns_everything(graph: SkillGraph) -> None:
    mastered: set[str] = set()
    while found := frontier(graph, mastered):
        mastered |= set(found)
    assert mastered == set(learning_order(graph))


def test_groups_follow_the_levels() -> None:
    assert groups_by_level(CALCULUS) == (("function", "number"), ("limit",), ("derivative",), ("calculus",))
