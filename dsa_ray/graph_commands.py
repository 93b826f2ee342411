"""`dsa graph ...`, `dsa import` and `dsa export`: skill graphs from the command line.

A SOURCE is a graph file, by its suffix, the folder of an InstructLab taxonomy, or a run: its folder, its URI, or its
name in runs/.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dsa_ray.config import Config, ConfigError
from dsa_ray.records import Exercise, SkillGraph
from dsa_ray.skills.coverage import Coverage, coverage_of
from dsa_ray.skills.files.formats import READ_FORMATS, WRITE_FORMATS, format_of, graph_text, read_graph
from dsa_ray.skills.files.instructlab import is_taxonomy, read_taxonomy
from dsa_ray.skills.graph import GraphError, Make, build, extra_fields, faults_of, from_node_link, unchecked

FAULTY = 1
IMPORTS = ("instructlab", *READ_FORMATS)
EXPORTS = (*WRITE_FORMATS, "instructlab")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `dsa`."""
    graph = commands.add_parser("graph", help="draw, check, compare and change skill graphs")
    graphs = graph.add_subparsers(required=True, metavar="WHAT")
    _add_build(graphs)
    show = _add(graphs, "show", show_command, "draw it: one HTML page, zoomable, searchable", "source")
    show.add_argument("--out", metavar="FILE", help="default: the source's name with .html")
    _add(graphs, "check", check_command, "name every fault; exit code 1 if there are any", "source")
    _add(graphs, "diff", diff_command, "what the second has otherwise than the first", "old", "new")
    merge = _add(graphs, "merge", merge_command, "both together, contradictions resolved by evidence", "ours", "theirs")
    merge.add_argument("--out", metavar="FILE", required=True)
    _add_learn(graphs)
    add = _add(graphs, "add", add_command, "teach a run that goes on one more skill", "run")
    add.add_argument("--skill", required=True, metavar="NAME")
    add.add_argument("--about", default="", metavar="TEXT", help="one sentence")
    for name, text in (("--prerequisites", "needed for it"), ("--needed-by", "that need it; default the target")):
        add.add_argument(name, nargs="*", default=[], metavar="SKILL", help=f"names or ids of skills {text}")

    into = _add(commands, "import", import_command, "a skill graph of another format", "source")
    into.add_argument("--format", choices=IMPORTS, required=True)
    into.add_argument("--out", metavar="FILE", required=True, help="a .yaml, .json or .graphml file")


def show_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.report.explain import printable
    from dsa_ray.report.graph_page import graph_page

    graph, facts = _load_with_facts(parsed.source)
    coverage = _coverage(parsed.source, graph)
    name = Path(parsed.source.rstrip("/")).name
    target = Path(parsed.out or Path(name).with_suffix(".html").name)
    _write(target, graph_page(graph, facts, coverage=coverage))
    print(f"{target}: {len(graph.skills)} skills, {len(graph.edges)} edges")
    if coverage is not None:
        print("\n".join(map(printable, coverage.lines(graph))))
    return 0


def check_command(parsed: argparse.Namespace) -> int:
    faults = faults_of(load(parsed.source, unchecked))
    print("\n".join(faults) if faults else "no faults")
    return FAULTY if faults else 0


def diff_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.skills.versions import diff

    lines = diff(load(parsed.old), load(parsed.new)).lines()
    print("\n".join(lines) if lines else "no differences")
    return 0


def merge_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.skills.versions import merge

    graph, notes = merge(load(parsed.ours), load(parsed.theirs))
    _tell(notes)
    return _save(graph, parsed.out)


def add_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.skills.edits import Edit, with_edit
    from dsa_ray.skills.start import GRAPH
    from dsa_ray.storage.edits import put_edit
    from dsa_ray.storage.run_folder import RunFolder, find_run

    run = RunFolder.open(find_run(parsed.run))
    if run.exists("summary.json"):
        raise ConfigError(f"{run.path}: this run has ended; a skill can be added only while it goes on")
    edit = Edit(
        name=parsed.skill,
        description=parsed.about,
        prerequisites=tuple(parsed.prerequisites),
        needed_by=tuple(parsed.needed_by),
    )
    if run.exists(GRAPH):
        with_edit(load(run.path), edit)  # refuses here what the run would refuse
    name = put_edit(run.folder, edit.row())
    print(f"{run.path}: {parsed.skill!r} is handed in as {name}; a run that goes on takes it up within seconds")
    return 0


def import_command(parsed: argparse.Namespace) -> int:
    if parsed.format != "instructlab":
        return _save(read_graph(parsed.source, parsed.format), parsed.out)
    read = read_taxonomy(parsed.source)
    _tell(read.faults)
    stem = Path(parsed.out).with_suffix("")
    for part, rows in (
        ("exercises", [_exercise_row(exercise) for exercise in read.exercises]),
        ("textbooks", [{"skill": book.skill, "text": book.text} for book in read.textbooks]),
        ("documents", [_document_row(document) for document in read.documents]),
    ):
        if rows:
            path = stem.with_name(f"{stem.name}.{part}.jsonl")
            _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            print(f"{path}: {len(rows)} {part}")
    return _save(read.graph, parsed.out)


def export_graph(parsed: argparse.Namespace) -> int:
    """Write the graph of `parsed.source` to `parsed.out`, in one of `EXPORTS`."""
    graph = load(parsed.source)
    if parsed.format != "instructlab":
        _write(Path(parsed.out), graph_text(graph, parsed.format))
        print(f"{parsed.out}: {len(graph.skills)} skills, {len(graph.edges)} edges")
        return 0
    from dsa_ray.skills.files.instructlab import write_taxonomy

    left_out = write_taxonomy(parsed.out, graph, _exercises(parsed.source))
    _tell(left_out)
    taught = sum(not skill.group for skill in graph.skills)
    print(f"{parsed.out}: {taught - len(left_out)} of {taught} skills")
    return 0


def build_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.config import load as load_config
    from dsa_ray.graph_build import build_graph

    return build_graph(load_config(parsed.config, parsed.overrides), resume=parsed.resume)


def learn_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.graph_learn import LearnOptions, learn_graph
    from dsa_ray.storage.run_folder import find_run

    return learn_graph(
        LearnOptions(
            run=find_run(parsed.run),
            out=parsed.out,
            method=parsed.method,
            rule=parsed.rule,
            steps=parsed.steps,
            batch=parsed.batch,
            held_out=parsed.held_out,
            proxy=parsed.proxy,
            estimate=parsed.estimate,
        )
    )


def check_start(config: Config) -> list[str]:
    """Read the files of the graph section, so that a fault in them is told before anything starts, and look whether
    the skills that the configuration names are in a graph that is there.

    Returns:
        warnings: see `check_names`.

    Raises:
        ConfigError: one line that names the key.
    """
    from dsa_ray.skills.start import check_names, read_start

    try:
        return check_names(config, read_start(config.graph))
    except GraphError as error:
        raise ConfigError(str(error)) from None


def load(source: str, make: Make = build) -> SkillGraph:
    """The graph of a file or of a run. Raises `GraphError` or `ConfigError` in one line."""
    if Path(source).is_file():
        return read_graph(source, make=make)
    if _is_file(source):
        read = read_taxonomy(source)
        _tell(read.faults)
        return make(read.graph.target, read.graph.skills, read.graph.edges)
    return from_node_link(_run_graph(source), make)


def _load_with_facts(source: str) -> tuple[SkillGraph, dict[str, dict[str, Any]]]:
    """With what a run's graph.json says of each skill beyond the graph, such as its accuracy."""
    if Path(source).is_file() and format_of(source) != "nodelink":
        return read_graph(source), {}
    graph = load(source)
    if Path(source).is_dir() and _is_file(source):
        return graph, {}
    data = json.loads(Path(source).read_text()) if Path(source).is_file() else _run_graph(source)
    return graph, extra_fields(data)


def _coverage(source: str, graph: SkillGraph) -> Coverage | None:
    """Of a run whose skills have a syllabus."""
    from dsa_ray.storage.run_folder import RunFolder, find_run

    if _is_file(source) or not any(skill.sessions for skill in graph.skills):
        return None
    return coverage_of(RunFolder.open(find_run(source)).journal)


def _is_file(source: str) -> bool:
    """Whether this is a graph file, or the folder of a taxonomy, rather than a run."""
    return Path(source).is_file() or (not Path(source, "config.json").exists() and is_taxonomy(source))


def _run_graph(source: str) -> Any:
    from dsa_ray.skills.start import GRAPH
    from dsa_ray.storage.run_folder import RunFolder, find_run

    run = RunFolder.open(find_run(source))
    if not run.exists(GRAPH):
        raise ConfigError(f"{run.path}: its graph is not drawn yet; see `dsa status {source}`")
    return json.loads(run.read_text(GRAPH))


def _exercises(source: str) -> Iterator[Exercise]:
    """What a run has written; nothing for a graph file."""
    if _is_file(source):
        return
    from dsa_ray.storage.journal import iter_segments
    from dsa_ray.storage.run_folder import RunFolder, find_run
    from dsa_ray.storage.texts import STREAM, written_from_row

    for _, rows in iter_segments(RunFolder.open(find_run(source)).journal, STREAM):
        for row in rows:
            item = written_from_row(row).item
            if isinstance(item, Exercise):
                yield item


def _exercise_row(exercise: Exercise) -> dict[str, Any]:
    return {
        "skills": list(exercise.skills),
        "question": exercise.question,
        "solution": exercise.solution,
        "answer": exercise.answer,
    }


def _document_row(document: Any) -> dict[str, Any]:
    names = ("skill", "repo", "commit", "patterns", "outline")
    return {name: getattr(document, name) for name in names}


def _save(graph: SkillGraph, path: str) -> int:
    _write(Path(path), graph_text(graph, format_of(path)))
    print(f"{path}: {len(graph.skills)} skills, {len(graph.edges)} edges")
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error})") from None


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"dsa: {note}", file=sys.stderr)


def _add_build(graphs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(graphs, "build", build_command, "let the teacher draw it, and nothing else", "config")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--resume", action="store_true", help="go on with the one of this name")


def _add_learn(graphs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(graphs, "learn", learn_command, "measure on a run's exercises which skills help which", "run")
    parser.add_argument("--out", required=True, metavar="FILE", help="the graph with what was measured")
    parser.add_argument("--method", choices=("single", "pairs"), default="single", help="a run per skill, or per pair")
    parser.add_argument("--rule", choices=("gain", "threshold"), default="gain", help="by loss drop, or by steps")
    for name, usual, text in (
        ("--steps", 150, "of each run"),
        ("--batch", 8, "exercises per step"),
        ("--held-out", 8, "exercises per skill that are not trained on"),
    ):
        parser.add_argument(name, type=_positive, default=usual, metavar="N", help=f"{text}; default {usual}")
    parser.add_argument("--proxy", metavar="FOLDER", help="a smaller model; default the run's untrained student")
    parser.add_argument("--estimate", action="store_true", help="say what it would cost, and no more")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    *places: str,
) -> argparse.ArgumentParser:
    """A command whose broken graphs are one line, exit code 2."""

    def told(parsed: argparse.Namespace) -> int:
        try:
            return command(parsed)
        except GraphError as error:
            raise ConfigError(str(error)) from None

    parser = commands.add_parser(name, help=text)
    for place in places:
        parser.add_argument(place, metavar=place.upper())
    parser.set_defaults(command=told)
    return parser
