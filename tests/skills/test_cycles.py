import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.records import Edge
from dsa_ray.skills.cycles import resolve


def edge(link: str, proposals: int = 1, source: str = "teacher") -> Edge:
    before, after = link.split(">")
    return Edge(prerequisite=before, skill=after, proposals=proposals, source=source)


def links(edges: list[Edge]) -> list[str]:
    return [f"{each.prerequisite}>{each.skill}" for each in edges]


def test_of_equal_edges_the_later_found_one_goes() -> None:
    kept, dropped = resolve([edge("a>b"), edge("b>c"), edge("c>a"), edge("c>d")])
    assert links(kept) == ["a>b", "b>c", "c>d"]
    assert links(dropped) == ["c>a"]


def test_what_was_proposed_more_often_stays() -> None:
    kept, dropped = resolve([edge("a>b"), edge("b>a", proposals=3)])
    assert links(kept) == ["b>a"]
    assert links(dropped) == ["a>b"]


def test_a_syllabus_outweighs_the_teacher_and_a_person_outweighs_both() -> None:
    assert links(resolve([edge("a>b", 9), edge("b>a", source="syllabus")])[0]) == ["b>a"]
    assert links(resolve([edge("b>a", 9, "syllabus"), edge("a>b", source="hand")])[0]) == ["a>b"]


def test_an_edge_from_a_skill_to_itself_goes() -> None:
    assert links(resolve([edge("a>a"), edge("a>b")])[1]) == ["a>a"]


many = st.lists(
    st.builds(
        lambda pair, proposals, source: edge(f"{pair[0]}>{pair[1]}", proposals, source),
        st.tuples(st.integers(0, 7), st.integers(0, 7)),
        st.integers(1, 4),
        st.sampled_from(["teacher", "syllabus", "hand"]),
    ),
    max_size=30,
    unique_by=lambda each: (each.prerequisite, each.skill),
)


@given(many)
def test_what_is_kept_is_acyclic_and_nothing_is_dropped_without_need(edges: list[Edge]) -> None:
    kept, dropped = resolve(edges)
    network = nx.DiGraph((each.prerequisite, each.skill) for each in kept)
    assert nx.is_directed_acyclic_graph(network)
    assert sorted(links(kept) + links(dropped)) == sorted(links(edges))
    for each in dropped:
        network.add_edge(each.prerequisite, each.skill)
        assert not nx.is_directed_acyclic_graph(network)
        network.remove_edge(each.prerequisite, each.skill)


@given(many)
def test_resolving_again_changes_nothing(edges: list[Edge]) -> None:
    kept, _ = resolve(edges)
    assert resolve(kept) == (kept, [])
