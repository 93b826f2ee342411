import json
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.config import ConfigError, GraphConfig, parse
from dsa_ray.skills.decompose import Decomposition
from dsa_ray.skills.files.formats import graph_text
from dsa_ray.skills.graph import GraphError
from dsa_ray.skills.start import construction, read_start
from dsa_ray.skills.taxonomy import TaxonomyBuild
from tests.engines.tiny_model import tiny_llama
from tests.skills.builders import a_graph


def graph_config(**keys: Any) -> GraphConfig:
    return parse({"run": {"name": "x"}, "graph": {"target": "Calculus", **keys}}).graph


def put(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_without_files_a_run_decomposes_or_draws_a_taxonomy() -> None:
    assert read_start(graph_config()) == {}
    assert isinstance(construction(graph_config()), Decomposition)
    assert isinstance(construction(graph_config(kind="taxonomy")), TaxonomyBuild)


def test_a_syllabus_goes_into_the_decomposition_and_its_faults_are_kept(tmp_path: Path) -> None:
    config = graph_config(syllabus=put(tmp_path, "s.md", "# Limits\n- Bounds\n" + "word " * 60))
    start = json.loads(json.dumps(read_start(config)))
    assert len(start["faults"]) == 1
    asked = [question.brief.id for question in construction(config, start).questions()]
    assert set(asked) == {"calculus", "limits", "bounds"}


def test_names_can_merge_by_spelling_and_by_a_local_encoder(tmp_path: Path) -> None:
    config = graph_config(similarity=0.9, embedding=tiny_llama(tmp_path), embedding_similarity=0.99999)
    assert construction(config).questions()[0].brief.id == "calculus"


@pytest.mark.parametrize(
    ("key", "name", "text", "fault"),
    [
        ("file", "g.yaml", "target: [", "graph.file: .*no valid YAML"),
        ("file", "g.yaml", graph_text(a_graph("flour>bread", target="bread"), "yaml"), "graph.file leads to 'Bread'"),
        ("file", "g.yaml", graph_text(a_graph("a>calculus", alone=("b",)), "yaml"), "b: orphan"),
        ("file", "g.txt", "x", "tells no format"),
        ("syllabus", "s.md", "", "syllabus: holds no line"),
        ("taxonomy", "t.yaml", "name: Cooking", "graph.target"),
        ("taxonomy", "t.yaml", "below: []", "no `name`"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, key: str, name: str, text: str, fault: str) -> None:
    kind = "taxonomy" if key == "taxonomy" else "skill"
    with pytest.raises(GraphError, match=fault) as error:
        read_start(graph_config(kind=kind, **{key: put(tmp_path, name, text)}))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named_by_its_key() -> None:
    with pytest.raises(GraphError, match=r"graph\.syllabus: nowhere\.md: cannot be read"):
        read_start(graph_config(syllabus="nowhere.md"))
    with pytest.raises(GraphError, match=r"graph\.embedding: there is no folder"):
        read_start(graph_config(embedding="nowhere"))


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"grow": True}, "graph.grow"),
        ({"kind": "taxonomy", "file": "g.yaml"}, "graph.file"),
        ({"kind": "taxonomy", "syllabus": "s.md"}, "graph.syllabus"),
        ({"taxonomy": "t.yaml"}, "graph.taxonomy"),
        ({"until": "field"}, "graph.until"),
        ({"file": "g.yaml", "syllabus": "s.md"}, "graph.syllabus"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        graph_config(**keys)
