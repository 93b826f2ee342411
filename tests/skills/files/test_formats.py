import json

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.records import Skill, SkillGraph
from dsa_ray.skills.files import graphml, mermaid, yaml_file
from dsa_ray.skills.files.bounds import MAX_DEPTH, load_yaml, read_text
from dsa_ray.skills.files.formats import format_of, graph_text, read_graph
from dsa_ray.skills.graph import GraphError, build
from tests.skills.builders import a_graph, graphs

CALCULUS = a_graph("limit>calculus", "number>limit")
HAND = """
target: Calculus
skills:
  - name: Limit
    about: What a value tends to.
    needs: [Numbers]
  - Number
  - name: Calculus
    needs: [limit]
"""


@given(graphs())
def test_yaml_gives_back_what_was_written(graph: SkillGraph) -> None:
    assert yaml_file.read(yaml_file.write(graph)) == graph


@given(graphs())
def test_graphml_gives_back_what_was_written(graph: SkillGraph) -> None:
    assert graphml.read(graphml.write(graph)) == graph


@pytest.mark.parametrize("name", ["graph.yaml", "graph.json", "graph.graphml"])
@given(graph=graphs())
def test_a_file_is_read_by_its_suffix(name: str, tmp_path_factory, graph: SkillGraph) -> None:
    path = tmp_path_factory.mktemp("graph") / name
    path.write_text(graph_text(graph, format_of(path)), encoding="utf-8")
    assert read_graph(path) == graph


def test_a_graph_written_by_hand_needs_names_only() -> None:
    graph = yaml_file.read(HAND)
    assert [(skill.id, skill.level, skill.source) for skill in graph.skills] == [
        ("number", 0, "hand"),
        ("limit", 1, "hand"),
        ("calculus", 2, "hand"),
    ]
    assert {edge.source for edge in graph.edges} == {"hand"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "needs a `target`"),
        ("skills: []", "should be text"),
        ("target: x\nskills: [1]", "skill 1: needs a `name`"),
        ("target: x\nskills: [{name: x, neds: [y]}]", "unknown field 'neds'"),
        ("target: x\nskills: [{name: x, needs: [y]}]", "the graph has no skill 'y'"),
        ("target: x\nskills: [{name: x, needs: y}]", "should be a list"),
        ("target: x\nskills: [{name: x, needs: [{from: y}]}]", "should be a name"),
        ("target: y\nskills: [x]", "y: the target is not among the skills"),
        ("target: x\nskills: [{name: x, needs: [y]}, {name: y, needs: [x]}]", "cycle"),
        ("target: x\nskills: [x, x]", "2 skills have this id"),
        ("target: x\nskills: [{name: x, proposals: many}]", "positive number"),
        ("target: [", "no valid YAML"),
        ("a: &a [x]\nb: [*a, *a]", "line 2: aliases"),
        ("[" * (MAX_DEPTH + 1), "nested more than"),
        ("target: 2024-13-01\nskills: [x]", "line 1: timestamp '2024-13-01'"),
        ("target: !!bool maybe\nskills: [x]", "no valid YAML (line 1: bool 'maybe'"),
        ("target: !!python/object/apply:os.system [ls]\nskills: []", "no valid YAML"),
    ],
)
def test_what_is_wrong_with_a_yaml_file_is_said_in_one_line(text: str, fault: str) -> None:
    with pytest.raises(GraphError, match="graph file") as error:
        yaml_file.read(text)
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


def test_a_billion_laughs_are_refused_before_they_are_built() -> None:
    laughs = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
    with pytest.raises(GraphError, match="aliases"):
        load_yaml(laughs, "graph file")


@given(st.text(max_size=200))
def test_any_text_is_a_graph_or_a_graph_error(text: str) -> None:
    for read in (yaml_file.read, graphml.read):
        fault = ""
        try:
            graph = read(text)
        except GraphError as error:
            fault = str(error)
        assert fault.startswith("graph file") or isinstance(graph, SkillGraph)


def test_a_file_that_is_too_long_or_no_text_is_refused(tmp_path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"x" * 100)
    with pytest.raises(GraphError, match="longer than 10 bytes"):
        read_text(tmp_path / "a.yaml", most=10)
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(GraphError, match="no UTF-8"):
        read_graph(tmp_path / "a.yaml")
    with pytest.raises(GraphError, match="cannot be read"):
        read_graph(tmp_path / "b.yaml")
    with pytest.raises(GraphError, match="tells no format"):
        read_graph(tmp_path / "b.txt")


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE g [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE g SYSTEM "http://127.0.0.1/g.dtd">',
    ],
)
def test_graphml_with_a_document_type_is_refused(declaration: str) -> None:
    head, body = graphml.write(CALCULUS).split("?>", 1)
    with pytest.raises(GraphError, match="document type"):
        graphml.read(f"{head}?>{declaration}{body}")


@pytest.mark.parametrize("sessions", ["[" * 5000, "[" * 100_000])
def test_graphml_whose_sessions_are_nested_too_deep_is_refused(sessions: str) -> None:
    head, body = graphml.write(CALCULUS).split("<graph ", 1)
    key = '<key id="s" for="node" attr.name="sessions" attr.type="string"/>'
    node = body.replace("</node>", f'<data key="s">{sessions}</data></node>')
    with pytest.raises(GraphError, match="of the wrong shape"):
        graphml.read(f"{head}{key}<graph {node}")


def test_graphml_that_is_nested_too_deep_is_refused() -> None:
    head, body = graphml.write(CALCULUS).split("<graph ", 1)
    with pytest.raises(GraphError, match=f"line .*: nested more than {MAX_DEPTH} deep"):
        graphml.read(f"{head}{'<a>' * MAX_DEPTH}{'</a>' * MAX_DEPTH}<graph {body}")


def test_graphml_of_another_tool_needs_names_and_one_end() -> None:
    network = nx.DiGraph([("a", "b"), ("b", "c")])
    nx.set_node_attributes(network, {"a": "Alpha", "b": "Beta", "c": "Gamma"}, "label")
    graph = graphml.read("\n".join(nx.generate_graphml(network)))
    assert graph.target == "c"
    assert [skill.name for skill in graph.skills] == ["Alpha", "Beta", "Gamma"]

    network.add_edge("a", "d")
    with pytest.raises(GraphError, match="2 skills are needed by no other"):
        graphml.read("\n".join(nx.generate_graphml(network)))


def test_characters_that_xml_cannot_hold_do_not_break_it() -> None:
    graph = a_graph("a\x00b>calculus")
    assert [skill.id for skill in graphml.read(graphml.write(graph)).skills] == ["a\ufffdb", "calculus"]


def test_node_link_files_of_the_wrong_shape_are_refused(tmp_path) -> None:
    for content in ("[]", "{", json.dumps({"nodes": 1}), "[" * 100_000):
        (tmp_path / "g.json").write_text(content)
        with pytest.raises(GraphError, match=r"g\.json"):
            read_graph(tmp_path / "g.json")


def test_mermaid_names_every_skill_and_edge() -> None:
    assert mermaid.write(CALCULUS) == (
        'flowchart LR\n  n0["Number"]\n  n1["Limit"]\n  n2["Calculus"]\n'
        "  n0 --> n1\n  n1 --> n2\n  style n2 stroke-width:3px\n"
    )


def test_mermaid_cannot_be_broken_by_a_name() -> None:
    name = 'a"]; click n0 call alert(1)\n  x["<script>'
    graph = build("calculus", [Skill(id="calculus", name="Calculus"), Skill(id="a", name=name)], [])
    nodes = [line for line in mermaid.write(graph).splitlines() if "[" in line]
    assert len(nodes) == len(graph.skills)
    assert all(line.count('"') == 2 and "<" not in line and line.endswith('"]') for line in nodes)
