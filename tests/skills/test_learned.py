import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.skills.files.formats import graph_text
from dsa_ray.skills.files.yaml_file import read as read_yaml
from dsa_ray.skills.graph import check, from_node_link, to_node_link
from dsa_ray.skills.learned import Losses, proxy_runs, transfer, with_learned
from tests.skills.builders import a_graph, graphs


def losses(steps=(0, 100), **by_skill) -> Losses:
    return Losses(steps=steps, by_skill=by_skill)


def test_single_runs_are_one_per_skill_and_pairs_come_on_top():
    assert [run.skills for run in proxy_runs("abc", "single")] == [("a",), ("b",), ("c",)]
    assert [run.skills for run in proxy_runs("abc", "pairs")][3:] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert len(proxy_runs([str(n) for n in range(20)], "pairs")) == 20 + 190


def test_a_runs_name_is_fit_for_a_file_whatever_the_skills_are_called():
    names = {run.name for run in proxy_runs(["../../etc", "a b", "ü" * 300], "pairs")}
    assert len(names) == 6
    assert all(name.isalnum() and len(name) == 16 for name in names)


def test_single_weights_are_what_one_skill_takes_off_the_loss_of_another():
    made = {("a",): losses(a=(2.0, 1.0), b=(3.0, 2.5)), ("b",): losses(a=(2.0, 2.25), b=(3.0, 1.0))}
    weights, counts = transfer(made, "ab", "ab")
    assert weights == {("a", "b"): 0.5, ("b", "a"): -0.25}
    assert counts["not_measured"] == 0


def test_pair_weights_are_what_the_company_adds():
    made = {
        ("a",): losses(a=(2.0, 1.0), b=(3.0, 2.9)),
        ("b",): losses(a=(2.0, 2.0), b=(3.0, 2.0)),
        ("a", "b"): losses(a=(2.0, 1.5), b=(3.0, 1.25)),
    }
    weights, _ = transfer(made, "ab", "ab")
    assert weights == {("a", "b"): 0.75, ("b", "a"): -0.5}  # 1.75 - 1.0; 0.5 - 1.0


def test_the_published_threshold_goes_by_steps_to_a_hundredth_or_by_any_drop():
    steps = (0, 50, 100)
    made = {
        ("a",): losses(steps, a=(0.7, 0.3, 0.005), b=(0.7, 0.7, 0.7)),
        ("b",): losses(steps, a=(0.7, 0.7, 0.8), b=(0.7, 0.6, 0.01)),
        ("a", "b"): losses(steps, a=(0.7, 0.4, 0.2), b=(0.7, 0.01, 0.0)),
    }
    weights, _ = transfer(made, "ab", "ab", "threshold")
    assert weights == {("a", "b"): 0.5, ("b", "a"): 0.0}
    never = {key: losses(steps, a=(0.7, 0.7, 0.7), b=(0.7, 0.7, 0.7)) for key in made}
    assert set(transfer(never, "ab", "ab", "threshold")[0].values()) == {0.0}


def test_out_of_domain_the_evaluated_skills_are_not_trained():
    made = {("a",): losses(x=(2.0, 1.0)), ("b",): losses(x=(2.0, 3.0))}
    assert transfer(made, "ab", "x")[0] == {("a", "x"): 1.0, ("b", "x"): -1.0}


@pytest.mark.parametrize("bad", [(2.0, math.nan), (math.inf, 1.0), (2.0,), ()])
def test_what_was_not_measured_is_left_out_and_counted(bad):
    made = {("a",): losses(a=(2.0, 1.0), b=bad), ("b",): losses(a=(2.0, 1.0), b=(2.0, 1.0))}
    weights, counts = transfer(made, "abc", "ab")
    assert weights == {("b", "a"): 1.0}
    assert counts["not_measured"] == 3


def test_the_datas_edges_stand_beside_the_proposed_ones():
    graph = a_graph("number>limit", "limit>calculus", "area>calculus", "unit>calculus")
    weights = {
        ("number", "limit"): 0.4,
        ("limit", "calculus"): -0.1,
        ("number", "area"): 0.3,
        ("calculus", "number"): 0.9,
        ("area", "number"): 0.2,
        ("area", "calculus"): 0.0,
    }
    merged, found = with_learned(graph, weights, generator="proxy")
    edges = {(edge.prerequisite, edge.skill): edge for edge in merged.edges}
    assert check(merged) == []
    assert edges["number", "area"].source == "data"
    assert edges["number", "area"].generator == "proxy"
    assert edges["number", "limit"].transfer == 0.4
    assert edges["number", "limit"].source == "teacher"
    assert edges["unit", "calculus"].transfer is None
    assert found.confirmed == (("number", "limit"),)
    assert found.doubted == (("area", "calculus"), ("limit", "calculus"))
    assert found.found == (("number", "area"),)
    assert found.contrary == (("calculus", "number"), ("area", "number"))
    assert found.unmeasured == 1
    assert found.lines(weights)[-1] == (
        "1 confirmed, 2 not borne out, 1 found in the data alone, 2 contrary to the graph, 1 not measured"
    )
    assert "? limit -> calculus (-0.100)" in found.lines(weights)


@given(graphs(), st.randoms(use_true_random=False))
def test_whatever_the_weights_no_proposed_edge_is_lost_and_the_graph_is_sound(graph, rng):
    ids = [skill.id for skill in graph.skills]
    weights = {(a, b): rng.uniform(-1, 1) for a in ids for b in ids if a != b and rng.random() < 0.5}
    merged, found = with_learned(graph, weights)
    before = {(edge.prerequisite, edge.skill, edge.source) for edge in graph.edges}
    after = {(edge.prerequisite, edge.skill, edge.source) for edge in merged.edges}
    assert before <= after
    assert len(after) == len(before) + len(found.found)
    assert from_node_link(to_node_link(merged)) == merged
    assert read_yaml(graph_text(merged, "yaml")) == merged
