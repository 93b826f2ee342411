"""How a run's graph comes to be: from a file, from a taxonomy, or by decomposition, as the configuration says.

What files say is read once, when a run begins, and kept with the run, so that a resumed one starts from the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsa_ray.config import Config
from dsa_ray.records import Kind, Prerequisites, SkillGraph
from dsa_ray.sections import GraphConfig
from dsa_ray.skills import syllabus_text, taxonomy_tree
from dsa_ray.skills.decompose import Decomposition
from dsa_ray.skills.files.bounds import read_text
from dsa_ray.skills.files.formats import read_graph
from dsa_ray.skills.files.instructlab import Taxonomy, read_taxonomy
from dsa_ray.skills.graph import GraphError, check, from_node_link, names_of, to_node_link
from dsa_ray.skills.names import Names, match_key, normalise
from dsa_ray.skills.questions import Construction, Question
from dsa_ray.skills.similar import AnySimilar, Similar, SimilarMeaning, SimilarSpelling, embedder
from dsa_ray.skills.taxonomy import TaxonomyBuild
from dsa_ray.storage.run_folder import RunFolder

START = "start.json"
GRAPH = "graph.json"
Start = Mapping[str, Any]
"""What the files said, as JSON types: `graph` (node-link), `taxonomy` (text), `faults`, and of an InstructLab taxonomy
`exercises` (skill, question, answer) and `passages` (skill, text); each may be missing."""


def read_start(config: GraphConfig) -> Start:
    """Read the files that the configuration names.

    Raises:
        GraphError: one of them is missing, broken, or of another target; in one line that names the key.
    """
    if config.embedding is not None and not Path(config.embedding).is_dir():
        raise GraphError(f"graph.embedding: there is no folder {config.embedding}; give one that holds an encoder")
    if config.file is not None:
        if Path(config.file).is_dir():
            return _from_taxonomy(config)
        graph = _named("graph.file", lambda: read_graph(str(config.file)))
        _same_target(graph, config)
        faults = check(graph)
        if faults:
            raise GraphError(f"graph.file: {faults[0]}; see `dsa graph check {config.file}`")
        return {"graph": to_node_link(graph)}
    if config.syllabus is not None:
        text = _named("graph.syllabus", lambda: read_text(str(config.syllabus)))
        graph, faults = syllabus_text.read(text, config.target)
        return {"graph": to_node_link(graph), "faults": faults}
    if config.taxonomy is not None:
        text = _named("graph.taxonomy", lambda: read_text(str(config.taxonomy)))
        construction(config, {"taxonomy": text})  # says here what is wrong with it
        return {"taxonomy": text}
    return {}


def _from_taxonomy(config: GraphConfig) -> Start:
    read: Taxonomy = _named("graph.file", lambda: read_taxonomy(str(config.file), config.target))
    faults = check(read.graph)
    if faults:
        raise GraphError(f"graph.file: {faults[0]}; see `dsa graph check {config.file}`")
    exercises = [[each.skills[0], each.question, each.answer] for each in read.exercises]
    passages = [[each.skill, each.text] for each in read.textbooks]
    unread = [
        f"{each.skill}: its documents in {each.repo or 'no repository'} are not fetched; its textbook is made of the "
        "passages that its examples quote"
        for each in read.documents
    ]
    start = {"graph": to_node_link(read.graph), "faults": [*read.faults, *unread]}
    return {**start, "exercises": exercises, "passages": passages}


def construction(config: GraphConfig, start: Start | None = None) -> Construction:
    """The construction of a run's graph, from what its files said. Raises `GraphError`."""
    start = start or {}
    if config.kind == "taxonomy":
        given = taxonomy_tree.read(start["taxonomy"], "graph.taxonomy") if "taxonomy" in start else None
        return TaxonomyBuild(config.target, config.max_skills, queries=config.queries, until=config.until, given=given)
    graph = from_node_link(start["graph"]) if "graph" in start else None
    if config.file is not None and not config.grow:
        assert graph is not None, "a run from a file keeps its graph"
        return Finished(graph)
    made = Decomposition(
        config.target,
        config.max_depth,
        config.max_skills,
        config.elementary,
        queries=config.queries,
        similar=_similar(config),
    )
    if graph is not None:
        made.start_from(graph, ask=config.syllabus is not None)
    return made


def kept_start(config: GraphConfig, run: RunFolder) -> Start:
    """What the files said when the run began: read once, and kept with the run. Raises `GraphError`."""
    if not run.exists(START):
        run.write_text(START, json.dumps(dict(read_start(config))))
    return json.loads(run.read_text(START))


def check_names(config: Config, start: Start) -> list[str]:
    """Where nothing is added to a graph that is there, what the configuration names has to be in it.

    Returns:
        a warning for each elementary skill that is not: it may be one that the teacher never came to when it drew the
        graph, and an exam may still ask for it.

    Raises:
        GraphError: another name that means no skill of `graph.file`; one line that names the key.
    """
    graph = _settled(config.graph, start)
    if graph is None:
        return []
    names = names_of(graph)
    seeds = [seed.skill for seed in config.generate.seeds if seed.skill is not None]
    for key, words in (
        ("curriculum.targets", config.curriculum.targets),
        ("generate.seeds", seeds),
    ):
        for strange in names.strange(words):
            raise GraphError(f"{key}: {strange} names no skill of {config.graph.file}; see `dsa graph show`")
    for word in seeds:
        if names.all(word)[1:]:
            several = ", ".join(names.all(word)[:5])
            raise GraphError(f"generate.seeds: {word!r:.80} is the name of {several}; say which by its id")
    lacking = names.strange(config.graph.elementary)
    return [f"graph.elementary: {strange} names no skill of {config.graph.file}" for strange in lacking]


def names_before(config: GraphConfig, start: Start) -> Names:
    """The skills that are known before the graph is drawn: of its files, the target, and the elementary ones.

    A teacher that names one of them in other words adds no other one (`Decomposition`).
    """
    graph = from_node_link(start["graph"]) if "graph" in start else None
    names = names_of(graph) if graph is not None else Names()
    for word in (*([config.target] if config.kind == "skill" else []), *config.elementary):
        if names.find(word) is None:
            names.add(normalise(word), word)
    return names


def elementary_in(config: GraphConfig, graph: SkillGraph | None) -> frozenset[str]:
    """Ids of the skills that are taken as known. A name that the graph lacks, or that comes before it, counts as the
    id that it would give: an exam may still ask for that skill."""
    if not config.elementary:
        return frozenset()
    return (names_of(graph) if graph is not None else Names()).ids(config.elementary)


def graph_of(run: RunFolder) -> SkillGraph | None:
    """The graph that a run has drawn; None as long as it has none."""
    return from_node_link(json.loads(run.read_text(GRAPH))) if run.exists(GRAPH) else None


class Finished:
    """The construction of a graph that is there already."""

    done = True
    faults: tuple[str, ...] = ()

    def __init__(self, graph: SkillGraph) -> None:
        self._graph = graph

    def questions(self) -> list[Question]:
        return []

    def expect(self, skills: Sequence[str]) -> None:
        """No skill is added."""

    def take(self, kind: Kind, answer: Prerequisites, request: int, generator: str) -> None:
        """Nothing was asked."""

    def fail(self, kind: Kind, skill: str) -> None:
        """Nothing was asked."""

    def graph(self) -> SkillGraph:
        return self._graph


def _settled(config: GraphConfig, start: Start) -> SkillGraph | None:
    """The graph of a file that nothing is added to."""
    return from_node_link(start["graph"]) if config.file is not None and not config.grow else None


def _similar(config: GraphConfig) -> Similar | None:
    parts: list[Similar] = []
    if config.similarity < 1.0:
        parts.append(SimilarSpelling(config.similarity))
    if config.embedding is not None:
        parts.append(SimilarMeaning(embedder(config.embedding), config.embedding_similarity))
    return AnySimilar(*parts) if parts else None


def _same_target(graph: SkillGraph, config: GraphConfig) -> None:
    name = next(skill.name for skill in graph.skills if skill.id == graph.target)
    if match_key(config.target) not in (match_key(name), match_key(graph.target)):
        raise GraphError(f"graph.target: is {config.target!r}, but graph.file leads to {name!r}; make them the same")


def _named(key: str, read: Any) -> Any:
    try:
        return read()
    except GraphError as error:
        raise GraphError(f"{key}: {error}") from None
