import json
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.config import Config, ConfigError, parse
from dsa_ray.sections import GraphConfig
from dsa_ray.skills.decompose import Decomposition
from dsa_ray.skills.files.formats import graph_text
from dsa_ray.skills.graph import GraphError, to_node_link
from dsa_ray.skills.start import check_names, construction, elementary_in, graph_of, read_start
from dsa_ray.skills.taxonomy import TaxonomyBuild
from dsa_ray.storage.run_folder import RunFolder
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


GRAPH = a_graph("adding-fractions>limits", "limits>calculus")


def named(folder: Path, **keys: Any) -> Config:
    """A run from a file with `GRAPH`, that names skills elsewhere."""
    data: dict[str, Any] = {
        "run": {"name": "x", "storage": str(folder)},
        "graph": {"target": "Calculus", "file": put(folder, "g.yaml", graph_text(GRAPH, "yaml"))},
    }
    for section, values in keys.items():
        data[section] = {**data.get(section, {}), **values}
    return parse(data)


OUT = {"sampler": "skill_it", "setting": "out_of_domain"}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"curriculum": {**OUT, "targets": ["Limmits"]}}, "curriculum.targets: 'Limmits' (did you mean 'Limits'?)"),
        ({"curriculum": {**OUT, "targets": ["zzz"]}}, "curriculum.targets: 'zzz' names no skill of"),
        ({"generate": {"seeds": [{"path": "a.jsonl", "skill": "Lines"}]}}, "generate.seeds: 'Lines'"),
    ],
)
def test_a_name_that_means_no_skill_of_a_graph_that_is_there_is_one_line(tmp_path: Path, keys: Any, told: str) -> None:
    config = named(tmp_path, **keys)
    with pytest.raises(GraphError) as error:
        check_names(config, read_start(config.graph))
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
    grown = named(tmp_path, **{**keys, "graph": {**keys.get("graph", {}), "grow": True}})
    check_names(grown, read_start(grown.graph))


def test_an_elementary_skill_that_a_graph_lacks_is_a_warning_for_its_teacher_may_never_have_come_to_it(
    tmp_path: Path,
) -> None:
    config = named(tmp_path, graph={"elementary": ["Limits", "Limmits"]})
    [line] = check_names(config, read_start(config.graph))
    assert line.startswith("graph.elementary: 'Limmits' (did you mean 'Limits'?) names no skill of")


def test_names_in_other_spellings_are_found_in_a_graph_that_is_there(tmp_path: Path) -> None:
    seeds = [{"path": "a.jsonl", "skill": "limit"}, {"path": "b.jsonl", "skill_field": "topic"}]
    config = named(
        tmp_path,
        graph={"elementary": ["The adding of fractions", "adding-fraction"]},
        curriculum={**OUT, "targets": ["the limit"]},
        generate={"seeds": seeds},
    )
    check_names(config, read_start(config.graph))


def test_elementary_skills_are_the_graphs_own_and_what_it_lacks_counts_by_the_id_it_would_have(tmp_path: Path) -> None:
    config = graph_config(elementary=["Adding fraction", "Powers"])
    assert elementary_in(config, None) == {"adding-fraction", "powers"}
    whole = named(tmp_path)
    with RunFolder.create(str(tmp_path), whole) as run:
        assert graph_of(run) is None
        run.write_text("graph.json", json.dumps(to_node_link(GRAPH)))
        assert elementary_in(config, graph_of(run)) == {"adding-fractions", "powers"}


def leaf(folder: Path, place: str, *questions: str, **fields: Any) -> None:
    (folder / place).mkdir(parents=True)
    examples = [{"question": question, "answer": "Yes."} for question in questions]
    (folder / place / "qna.yaml").write_text(json.dumps({"version": 3, "seed_examples": examples, **fields}))


def test_the_folder_of_a_taxonomy_is_a_graph_with_examples(tmp_path: Path) -> None:
    leaf(tmp_path, "skills/limits", "Is 0 a limit of 1/n?")
    leaf(tmp_path, "skills/sums", "Is 2 the sum of 1 and 1?", document={"repo": "https://x.org"})
    leaf(tmp_path, "old", "?", version=1)
    config = graph_config(file=str(tmp_path))
    start = json.loads(json.dumps(read_start(config)))
    graph = construction(config, start).graph()
    assert graph.target == "calculus"
    assert {skill.id for skill in graph.skills if not skill.group} == {"limits", "sums"}
    assert start["exercises"] == [
        ["limits", "Is 0 a limit of 1/n?", "Yes."],
        ["sums", "Is 2 the sum of 1 and 1?", "Yes."],
    ]
    assert [fault.split(": ")[0] for fault in start["faults"]] == [f"{tmp_path}/old/qna.yaml", "sums"]


def test_a_folder_that_is_no_taxonomy_or_a_faulty_one_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"^graph\.file: .* holds no usable qna\.yaml"):
        read_start(graph_config(file=str(tmp_path)))
    leaf(tmp_path, "skills/limit", "?")
    leaf(tmp_path, "skills/limits", "?")
    with pytest.raises(GraphError, match=r"graph\.file: limit, limits: one skill in 2 spellings; see `dsa graph check"):
        read_start(graph_config(file=str(tmp_path)))
