"""InstructLab taxonomies: a tree of folders whose leaves hold a `qna.yaml`, versions 2 and 3.

A leaf becomes a skill, a folder above it a group. Seed examples become exercises, the passages of documents textbook
texts; the documents themselves, which lie in Git repositories or elsewhere, are named and not fetched.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dsa_ray.records import Edge, Exercise, Skill, SkillGraph, Textbook
from dsa_ray.skills.files.bounds import load_yaml, read_text
from dsa_ray.skills.graph import GraphError, build
from dsa_ray.skills.names import normalise, tidy

FILE = "qna.yaml"
VERSIONS = (2, 3)
MIN_EXAMPLES = 5
"""Seed examples that a file needs to be valid."""
_MAX_FILES = 20_000
_MAX_BYTES = 4 * 2**20

Path_ = tuple[str, ...]
"""Folder names from the taxonomy's root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSource:
    """Where the documents of a skill lie, for whoever fetches them."""

    skill: str
    repo: str
    commit: str
    patterns: tuple[str, ...]
    outline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxonomy:
    """What was read."""

    graph: SkillGraph
    exercises: tuple[Exercise, ...]
    textbooks: tuple[Textbook, ...]
    """Passages of the documents that seed examples quote."""
    documents: tuple[DocumentSource, ...]
    faults: tuple[str, ...]
    """Files and examples that could not be used, one line each."""


def is_taxonomy(path: str | Path) -> bool:
    """Whether this is a folder with a `qna.yaml` somewhere in it."""
    return Path(path).is_dir() and next(_files(Path(path)), None) is not None


def read_taxonomy(folder: str | Path, target: str | None = None) -> Taxonomy:
    """Read a whole taxonomy.

    Args:
        folder: its root; symbolic links in it are not followed.
        target: the skill that stands above all; the folder's name if not given.

    Raises:
        GraphError: no usable file in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise GraphError(f"{root}: no folder; give the root of a taxonomy")
    leaves: dict[Path_, Mapping[str, Any]] = {}
    faults: list[str] = []
    for path in _files(root):
        try:
            leaves[path] = _leaf(root.joinpath(*path, FILE))
        except GraphError as error:
            faults.append(str(error))
    if not leaves:
        raise GraphError(f"{root}: holds no usable {FILE}" + (f" ({faults[0]})" if faults else ""))
    graph, ids = _graph(leaves, tidy(target or root.resolve().name))
    parts = [_Leaf(ids[path], leaf, "/".join((*path, FILE))) for path, leaf in leaves.items()]
    return Taxonomy(
        graph=graph,
        exercises=tuple(exercise for part in parts for exercise in part.exercises),
        textbooks=tuple(textbook for part in parts for textbook in part.textbooks),
        documents=tuple(part.document for part in parts if part.document is not None),
        faults=(*faults, *(fault for part in parts for fault in part.faults)),
    )


def write_taxonomy(
    folder: str | Path, graph: SkillGraph, exercises: Iterable[Exercise], author: str = "dsa_ray"
) -> list[str]:
    """Write a `compositional_skills` tree, version 3: one `qna.yaml` per skill that has enough exercises.

    What the format cannot hold (edges, levels, provenance) is lost. An exercise belongs to its first skill.

    Returns:
        Skills left out and why, one line each.
    """
    by_skill: dict[str, dict[str, str]] = {skill.id: {} for skill in graph.skills}
    for exercise in exercises:
        if exercise.skills[0] in by_skill:
            text = "\n".join(part for part in (exercise.solution.strip(), exercise.answer.strip()) if part)
            by_skill[exercise.skills[0]].setdefault(exercise.question.strip(), text)
    left_out = []
    for skill in graph.skills:
        examples = [{"question": q, "answer": a} for q, a in by_skill[skill.id].items() if q and a]
        if skill.group:
            continue
        if len(examples) < MIN_EXAMPLES:
            left_out.append(f"{skill.id}: {len(examples)} exercises, and {FILE} needs {MIN_EXAMPLES}")
            continue
        data = {
            "version": 3,
            "created_by": author,
            "task_description": skill.description or f"Exercises on {skill.name}",
            "seed_examples": examples,
        }
        place = Path(folder) / "compositional_skills" / (normalise(skill.id) or "skill")
        place.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
        (place / FILE).write_text(text, encoding="utf-8", errors="replace")
    return left_out


def _files(root: Path) -> Iterator[Path_]:
    found = 0
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if FILE in files and not Path(place, FILE).is_symlink():
            found += 1
            if found > _MAX_FILES:
                raise GraphError(f"{root}: more than {_MAX_FILES:,} files {FILE}")
            yield Path(place).relative_to(root).parts


def _leaf(path: Path) -> Mapping[str, Any]:
    data = load_yaml(read_text(path, _MAX_BYTES), str(path))
    if not isinstance(data, Mapping) or not isinstance(data.get("seed_examples"), list):
        raise GraphError(f"{path}: needs a list `seed_examples`")
    if data.get("version") not in VERSIONS:
        raise GraphError(f"{path}: version {data.get('version')!r:.20}; versions 2 and 3 can be read")
    return data


def _graph(leaves: Mapping[Path_, Mapping[str, Any]], target: str) -> tuple[SkillGraph, dict[Path_, str]]:
    folders = dict.fromkeys(path[:depth] for path in leaves for depth in range(1, len(path) + 1))
    ids = _ids(list(folders), normalise(target) or "taxonomy")
    skills = [Skill(id=normalise(target) or "taxonomy", name=target, source="target", group=() not in leaves)]
    edges = []
    for path in folders:
        leaf = leaves.get(path)
        about = "" if leaf is None else _line(leaf.get("task_description") or leaf.get("document_outline"))
        name = tidy(path[-1].replace("_", " "))
        skills.append(Skill(id=ids[path], name=name, description=about, source="hand", group=leaf is None))
        edges.append(Edge(prerequisite=ids[path], skill=ids.get(path[:-1], skills[0].id), source="hand"))
    return build(skills[0].id, skills, edges), {(): skills[0].id, **ids}


def _ids(folders: Sequence[Path_], target: str) -> dict[Path_, str]:
    """The folder's own name, or its whole path where several have this name."""
    short = {path: normalise(path[-1].replace("_", " ")) for path in folders}
    often = Counter(short.values())
    ids: dict[Path_, str] = {}
    taken = {target, ""}
    for path in folders:
        wanted = short[path] if often[short[path]] == 1 else normalise(" ".join(path).replace("_", " "))
        number, id = 2, wanted
        while id in taken:
            id, number = f"{wanted or 'skill'}-{number}", number + 1
        ids[path] = id
        taken.add(id)
    return ids


class _Leaf:
    """The contents of one file."""

    def __init__(self, skill: str, data: Mapping[str, Any], where: str) -> None:
        self._skill, self._where = skill, where
        self.exercises: list[Exercise] = []
        self.textbooks: list[Textbook] = []
        self.faults: list[str] = []
        outline = _line(data.get("document_outline"))
        self.document = self._document(data.get("document"), outline)
        for number, example in enumerate(data["seed_examples"], 1):
            if not isinstance(example, Mapping):
                self.faults.append(f"{where}: seed example {number} has no fields")
            elif "questions_and_answers" in example:
                self._passage(example, number)
            else:
                self._pair(example, number, _text(example.get("context")))

    def _passage(self, example: Mapping[str, Any], number: int) -> None:
        context, pairs = _text(example.get("context")), example["questions_and_answers"]
        if context:
            self.textbooks.append(Textbook(skill=self._skill, text=context))
        for pair in pairs if isinstance(pairs, list) else []:
            self._pair(pair if isinstance(pair, Mapping) else {}, number, "")

    def _pair(self, pair: Mapping[str, Any], number: int, context: str) -> None:
        question, answer = _text(pair.get("question")), _text(pair.get("answer"))
        if not question or not answer:
            self.faults.append(f"{self._where}: seed example {number} lacks a question or an answer")
            return
        asked = f"{context}\n\n{question}" if context else question
        self.exercises.append(Exercise(skills=(self._skill,), question=asked, solution="", answer=answer))

    def _document(self, data: Any, outline: str) -> DocumentSource | None:
        if not isinstance(data, Mapping):
            return None
        patterns = data.get("patterns")
        return DocumentSource(
            skill=self._skill,
            repo=_line(data.get("repo") or data.get("folder")),
            commit=_line(data.get("commit")),
            patterns=tuple(_line(each) for each in patterns) if isinstance(patterns, list) else (),
            outline=outline,
        )


def _text(value: Any) -> str:
    """Text of a scalar: YAML reads `answer: 42` as a number."""
    return "" if value is None or isinstance(value, list | Mapping) else str(value).strip()


def _line(value: Any) -> str:
    return " ".join(_text(value).split())
