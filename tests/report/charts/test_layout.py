from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.report.charts.layout import layered
from tests.report import synthetic


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Up to 25 skills on up to 5 levels, edges upwards only."""
    levels = {f"s{at}": draw(st.integers(0, 4)) for at in range(draw(st.integers(1, 25)))}
    upwards = [(a, b) for a in levels for b in levels if levels[a] < levels[b]]
    return levels, draw(st.lists(st.sampled_from(upwards), max_size=40)) if upwards else []


@given(graphs())
def test_every_skill_has_a_place_of_its_own(case: tuple[dict[str, int], list[tuple[str, str]]]) -> None:
    levels, edges = case
    made = layered(levels, edges, 60, 14)
    assert set(made.place) == set(levels)
    for skill, (column, height) in made.place.items():
        assert 30 - 1e-6 <= height <= made.height - 30 + 1e-6
        for other, (same, elsewhere) in made.place.items():
            if other != skill and same == column:
                assert abs(height - elsewhere) >= 60 - 1e-6


@given(graphs())
def test_routes_visit_each_column_between_their_ends(case: tuple[dict[str, int], list[tuple[str, str]]]) -> None:
    made = layered(*case, 60, 14)
    for (start, end), route in made.routes.items():
        assert route[0] == made.place[start]
        assert route[-1] == made.place[end]
        assert [column for column, _ in route] == list(range(route[0][0], route[-1][0] + 1))


def test_an_edge_that_a_longer_path_implies_is_left_out_and_counted() -> None:
    made = layered({"a": 0, "b": 1, "c": 2}, [("a", "b"), ("b", "c"), ("a", "c"), ("a", "c")], 60, 14)
    assert set(made.routes) == {("a", "b"), ("b", "c")}
    assert made.implied == 1


def test_parallel_chains_do_not_cross() -> None:
    made = layered({"a": 0, "b": 0, "x": 1, "y": 1}, [("a", "y"), ("b", "x")], 60, 14)
    assert (made.place["a"][1] < made.place["b"][1]) == (made.place["y"][1] < made.place["x"][1])


def test_sixty_skills_are_laid_out_the_same_way_each_time() -> None:
    graph = synthetic.large_graph(60, 8)
    levels = {node["id"]: node["level"] for node in graph["nodes"]}
    edges = [(edge["source"], edge["target"]) for edge in graph["edges"]]
    assert layered(levels, edges, 60, 14) == layered(levels, list(reversed(edges)), 60, 14)
