from pathlib import Path

import pytest
import yaml

from dsa_ray.records import Exercise
from dsa_ray.skills.files.instructlab import DocumentSource, read_taxonomy, write_taxonomy
from dsa_ray.skills.graph import GraphError, check
from tests.skills.builders import a_graph

SKILL = {
    "version": 2,
    "created_by": "somebody",
    "task_description": "Rhymes with a given word.",
    "seed_examples": [
        {"question": "What rhymes with cat?", "answer": "Hat."},
        {"question": "How many lines?", "context": "Roses are red\nViolets are blue", "answer": 2},
    ],
}
KNOWLEDGE = {
    "version": 3,
    "created_by": "somebody",
    "domain": "astronomy",
    "document_outline": "The constellation Phoenix.",
    "seed_examples": [
        {
            "context": "Phoenix is a minor constellation.",
            "questions_and_answers": [{"question": "What is Phoenix?", "answer": "A constellation."}],
        }
    ],
    "document": {"repo": "https://example.org/p.git", "commit": "abc", "patterns": ["phoenix.md"]},
}


def put(root: Path, place: str, data: object) -> None:
    folder = root / place
    folder.mkdir(parents=True)
    (folder / "qna.yaml").write_text(data if isinstance(data, str) else yaml.safe_dump(data))


def test_folders_become_groups_and_leaves_skills_with_their_examples(tmp_path: Path) -> None:
    root = tmp_path / "taxonomy"
    put(root, "compositional_skills/writing/rhymes", SKILL)
    put(root, "knowledge/science/phoenix_constellation", KNOWLEDGE)
    read = read_taxonomy(root, target="Everything")

    graph = read.graph
    assert check(graph) == []
    assert {skill.id for skill in graph.skills if not skill.group} == {"rhymes", "phoenix-constellation"}
    assert graph.target == "everything"
    assert ("writing", "compositional-skills") in {(edge.prerequisite, edge.skill) for edge in graph.edges}
    assert [(exercise.skills, exercise.question, exercise.answer) for exercise in read.exercises] == [
        (("rhymes",), "What rhymes with cat?", "Hat."),
        (("rhymes",), "Roses are red\nViolets are blue\n\nHow many lines?", "2"),
        (("phoenix-constellation",), "What is Phoenix?", "A constellation."),
    ]
    assert [(book.skill, book.text) for book in read.textbooks] == [
        ("phoenix-constellation", "Phoenix is a minor constellation.")
    ]
    assert read.documents == (
        DocumentSource(
            skill="phoenix-constellation",
            repo="https://example.org/p.git",
            commit="abc",
            patterns=("phoenix.md",),
            outline="The constellation Phoenix.",
        ),
    )
    assert read.faults == ()


def test_leaves_of_one_name_keep_apart(tmp_path: Path) -> None:
    put(tmp_path, "a/rhymes", SKILL)
    put(tmp_path, "b/rhymes", SKILL)
    ids = {skill.id for skill in read_taxonomy(tmp_path, "t").graph.skills}
    assert {"a-rhymes", "b-rhymes"} <= ids


def test_broken_files_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    put(tmp_path, "good", SKILL)
    put(tmp_path, "old", {**SKILL, "version": 1})
    put(tmp_path, "alias", "seed_examples: &a [1]\nx: *a")
    put(tmp_path, "shape", "seed_examples: 7")
    put(tmp_path, "examples", {"version": 3, "seed_examples": [7, {"question": "?"}, {"questions_and_answers": [3]}]})
    read = read_taxonomy(tmp_path, "t")
    assert len(read.exercises) == 2
    assert len(read.faults) == 6
    assert all("\n" not in fault for fault in read.faults)


def test_a_folder_without_a_usable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"holds no usable qna\.yaml"):
        read_taxonomy(tmp_path)
    with pytest.raises(GraphError, match="no folder"):
        read_taxonomy(tmp_path / "nowhere")


def test_links_that_lead_out_of_the_tree_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "outside", "secret", SKILL)
    put(tmp_path / "tree", "good", SKILL)
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside")
    assert {skill.id for skill in read_taxonomy(tmp_path / "tree", "t").graph.skills} == {"t", "good"}


def test_what_is_exported_is_read_again_with_its_exercises(tmp_path: Path) -> None:
    graph = a_graph("limit>calculus")
    exercises = [
        Exercise(skills=("limit",), question=f"What is {n} + 1?", solution="Add one.", answer=str(n + 1))
        for n in range(6)
    ]
    left_out = write_taxonomy(tmp_path, graph, [*exercises, exercises[0]])
    assert left_out == ["calculus: 0 exercises, and qna.yaml needs 5"]

    read = read_taxonomy(tmp_path, "Calculus")
    assert [exercise.question for exercise in read.exercises] == [exercise.question for exercise in exercises]
    assert read.exercises[2].answer == "Add one.\n3"
