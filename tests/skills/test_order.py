import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.skills.order import Network

pairs_of_places = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=24, unique=True)


@given(pairs_of_places)
def test_levels_and_ancestors_are_those_of_networkx(places: list[tuple[int, int]]) -> None:
    ids = [f"s{n}" for n in range(9)]
    pairs = [(ids[a], ids[b]) for a, b in places]
    network = nx.DiGraph(pairs)
    network.add_nodes_from(ids)
    arrays = Network(ids, pairs)
    levels = arrays.levels()

    assert (len(levels) == 9) == nx.is_directed_acyclic_graph(network)
    if len(levels) == 9:
        groups = list(nx.topological_generations(network))
        assert levels == {skill: level for level, group in enumerate(groups) for skill in group}
    for skill in ids:
        reaching = {other for other in ids for end in network.successors(other) if nx.has_path(network, end, skill)}
        assert arrays.ancestors(skill) == reaching


def test_a_network_without_edges_or_skills_has_levels_too() -> None:
    assert Network(["a", "b"], []).levels() == {"a": 0, "b": 0}
    assert Network([], []).levels() == {}
