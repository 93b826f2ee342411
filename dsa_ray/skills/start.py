"""How a run's graph comes to be: from a file, from a taxonomy, or by decomposition, as the configuration says.

What files say is read once, when a run begins, and kept with the run, so that a resumed one starts from the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsa_ray.config import GraphConfig
from dsa_ray.records import Kind, Prerequisites, SkillGraph
from dsa_ray.skills import syllabus_text, taxonomy_tree
from dsa_ray.skills.decompose import Decomposition
from dsa_ray.skills.files.bounds import read_text
from dsa_ray.skills.files.formats import read_graph
from dsa_ray.skills.graph import GraphError, check, from_node_link, to_node_link
from dsa_ray.skills.names import match_key
from dsa_ray.skills.questions import Construction, Question
from dsa_ray.skills.similar import AnySimilar, Similar, SimilarMeaning, SimilarSpelling, embedder
from dsa_ray.skills.taxonomy import TaxonomyBuild

Start = Mapping[str, Any]
"""What the files said, as JSON types: `graph` (node-link), `taxonomy` (text), `faults`; each may be missing."""


def read_start(config: GraphConfig) -> Start:
    """Read the files that the configuration names.

    Raises:
        GraphError: one of them is missing, broken, or of another target; in one line that names the key.
    """
    if config.embedding is not None and not Path(config.embedding).is_dir():
        raise GraphError(f"graph.embedding: there is no folder {config.embedding}; give one that holds an encoder")
    if config.file is not None:
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


class Finished:
    """The construction of a graph that is there already."""

    done = True
    faults: tuple[str, ...] = ()

    def __init__(self, graph: SkillGraph) -> None:
        self._graph = graph

    def questions(self) -> list[Question]:
        return []

    def take(self, kind: Kind, answer: Prerequisites, request: int, generator: str) -> None:
        """Nothing was asked."""

    def fail(self, kind: Kind, skill: str) -> None:
        """Nothing was asked."""

    def graph(self) -> SkillGraph:
        return self._graph


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
