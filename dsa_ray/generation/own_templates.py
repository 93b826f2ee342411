"""A folder of prompt templates of one's own, looked at before anything starts: what would fail later, or do nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables

from dsa_ray.config import Config, ConfigError
from dsa_ray.generation.lessons import SYLLABUS_KINDS
from dsa_ray.generation.prompts import (
    PARENTS,
    STUDENT_VALUES,
    TEMPLATES,
    VALUES,
    PromptError,
    dialogue_messages,
    environment,
    render,
    source_of,
    told,
)
from dsa_ray.records import Assignment, Exercise, ExerciseRequest, Kind, Session, SkillBrief, Textbook, Written

KNOWN = frozenset(path.name for path in TEMPLATES.glob("*.j2"))
"""File names of the templates that are asked for."""
_SUFFIXES = frozenset({".j2", ".jinja", ".jinja2"})
_REMEDY = "mend it, or take the file away to have the built-in one"
_TAKES_IN = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)


def check_prompts(config: Config) -> None:
    """Look at the folder that `generate.prompts` names, if it does.

    Raises:
        ConfigError: what `check_templates` says.
    """
    if config.generate.prompts is None:
        return
    try:
        check_templates(config.generate.prompts)
    except PromptError as error:
        raise ConfigError(f"generate.prompts: {error}") from None


def check_templates(folder: str) -> None:
    """Read every template of a folder, with all that they take in, and render each once with the least it can be given.

    Raises:
        PromptError: one line: a file of a name that nothing asks for, a template that is broken, lacks a block, takes
            in what is not there, or uses a value that it is not given.
    """
    if not Path(folder).is_dir():
        raise PromptError(f"{folder}: not a folder; give the folder that holds your templates")
    there = {path.name for path in Path(folder).iterdir() if path.suffix in _SUFFIXES}
    found = {name: _check(name, folder) for name in sorted(KNOWN)}
    used = KNOWN.union(*(names for names, _ in found.values()))
    if all(closed for _, closed in found.values()):
        for name in sorted(there - used):
            raise PromptError(
                f"template {Path(folder, name)}: nothing asks for a template of this name; {_meant(name)}"
            )
    for name, (_, closed) in found.items():
        if closed and name in there:
            try:
                _try(name, folder)
            except PromptError as error:
                raise PromptError(f"{error}; {_REMEDY}") from None


def referenced(name: str, templates: str | None = None) -> list[str]:
    """File names of the templates that a template includes, imports or extends, and those below them, in order.

    A name that is worked out while rendering is not among them, nor one that may be missing and is.

    Args:
        name: of the template, with `.j2`.

    Raises:
        PromptError: one of them is missing or broken.
    """
    found: dict[str, None] = {}
    pending = [name]
    while pending:
        names = [part.name for part in _parts(_read(pending.pop(), templates), templates)]
        pending += [other for other in names if other not in found and other != name]
        found |= dict.fromkeys(names)
    return sorted(found)


@dataclass(frozen=True, slots=True)
class _Read:
    """A template that was read."""

    where: str
    tree: nodes.Template


@dataclass(frozen=True, slots=True)
class _Part:
    """A template that another takes in."""

    name: str
    with_values: bool
    """It sees the values of the other; else only what its macros are given."""


def _check(name: str, folder: str) -> tuple[set[str], bool]:
    """Look at a template and all that it takes in; returns their names, and whether these are all: not where the name
    of one is worked out while rendering."""
    closed = True
    seen: set[str] = set()
    pending: list[tuple[str, frozenset[str]]] = [(name, STUDENT_VALUES.get(name, VALUES))]
    while pending:
        part, values = pending.pop()
        if part in seen:
            continue
        seen.add(part)
        read = _read(part, folder)
        own = _set_in(read.tree)
        _check_values(read, values, own, folder)
        inherited = values | own
        pending += [(one.name, inherited if one.with_values else frozenset()) for one in _parts(read, folder)]
        closed &= all(_names(node.template) for node in read.tree.find_all(_TAKES_IN))
    return seen, closed


def _meant(name: str) -> str:
    close = get_close_matches(f"{Path(name).stem.lower()}.j2", sorted(KNOWN), n=1)
    return f"did you mean {close[0]}?" if close else f"known names are {', '.join(sorted(KNOWN))}"


def _read(name: str, templates: str | None) -> _Read:
    source, where = source_of(name, templates)
    try:
        return _Read(where, environment(templates).parse(source, filename=where))
    except TemplateError as error:
        raise PromptError(f"{told(where, error)}; {_REMEDY}") from None


def _parts(read: _Read, templates: str | None) -> Iterator[_Part]:
    for node in read.tree.find_all(_TAKES_IN):
        wanted = _names(node.template)
        there = next((name for name in wanted if _is_there(name, templates)), None)
        if there is not None:
            yield _Part(there, getattr(node, "with_context", True))
        elif wanted and not getattr(node, "ignore_missing", False):
            raise PromptError(
                f"template {read.where} line {node.lineno}: takes in {wanted[0]!r}, which is neither in "
                f"{templates or TEMPLATES} nor built in; write that file, or leave this out"
            )


def _names(node: nodes.Expr) -> list[str]:
    """The names that are written down; none where the name is worked out while rendering."""
    try:
        value = node.as_const()
    except nodes.Impossible:
        return []
    return [value] if isinstance(value, str) else list(value)


def _is_there(name: str, templates: str | None) -> bool:
    try:
        source_of(name, templates)
    except PromptError:
        return False
    return True


def _set_in(tree: nodes.Template) -> frozenset[str]:
    """Every name that a template sets somewhere: what it takes in may see it."""
    found = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    found |= {node.name for node in tree.find_all(nodes.Macro)} | {node.target for node in tree.find_all(nodes.Import)}
    for node in tree.find_all(nodes.FromImport):
        found |= {name if isinstance(name, str) else name[1] for name in node.names}
    return frozenset(found)


def _check_values(read: _Read, values: Collection[str], own: Collection[str], folder: str) -> None:
    jinja = environment(folder)
    try:
        strange = find_undeclared_variables(read.tree) - set(values) - jinja.globals.keys()
    except TemplateSyntaxError as error:  # of a filter or test that there is none of; it does not know its file
        raise PromptError(
            f"template {read.where} line {error.lineno}: {(error.message or '').rstrip('.')}; {_REMEDY}"
        ) from None
    for node in read.tree.find_all(nodes.Name):
        if node.ctx == "load" and node.name in strange:
            raise PromptError(f"template {read.where} line {node.lineno}: {_unknown(node.name, values, own)}")


def _unknown(name: str, values: Collection[str], own: Collection[str]) -> str:
    if name in own:
        return f"{name!r} is set outside the block that uses it; set it inside"
    close = get_close_matches(name, sorted(values), n=1)
    if close:
        return f"there is no value {name!r}; did you mean {close[0]!r}?"
    return f"there is no value {name!r}; known here are {', '.join(sorted(values)) or 'those that its macros take'}"


def _try(name: str, folder: str) -> None:
    """Render a template with the least that it can be given."""
    if name in STUDENT_VALUES:
        dialogue_messages("What is 2 + 2?", ["5"], ["Count again."], folder)
        return
    classes = name == "class_exercise.j2"
    kind = Kind.EXERCISE if classes else Kind(name.removesuffix(".j2"))
    parents = [_a_written(Textbook(skill="skill", text="Week 1."))] if kind in SYLLABUS_KINDS else []
    exercise = Exercise(skills=("skill",), question="What is 2 + 2?", solution="2 + 2 = 4", answer="4")
    parents += [_a_written(exercise)] * PARENTS.get(kind, 0)
    render(_an_assignment(kind, classes), parents, folder)


def _an_assignment(kind: Kind, classes: bool) -> Assignment:
    sessions = (Session(name="Week 1", concepts=("Sums",)),) if classes or kind is Kind.CONCEPTS else ()
    request = ExerciseRequest(id=1, kind=kind, skills=("skill",), concepts=((0, 0),) if classes else ())
    skill = SkillBrief(id="skill", name="Skill", sessions=sessions)
    return Assignment(request=request, skills=(skill,), attempts=("5",) if kind is Kind.HINT else ())


def _a_written(item: Exercise | Textbook) -> Written:
    request = ExerciseRequest(id=1, kind=Kind.EXERCISE, skills=("skill",))
    return Written(request=request, item=item, generator="", generator_version="", prompt_version="", content_hash=0)
