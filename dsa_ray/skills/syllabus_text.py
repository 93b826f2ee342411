"""A syllabus document, plain text or Markdown, as a skill graph: the human source of DSA's graphs.

Every heading, list item and line is a skill. What stands below another one (a deeper heading, an indented line) is
needed for it; in a numbered list each item is needed for the next one too. `Name: description` splits in two, and
"(needs: A, B)" at the end of a line names what else is needed. These rules are ours; DSA does not publish its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsa_ray.records import Edge, Skill, SkillGraph
from dsa_ray.skills.cycles import resolve
from dsa_ray.skills.dropped import Dropped
from dsa_ray.skills.graph import GraphError, build
from dsa_ray.skills.names import match_key, normalise, tidy

MAX_LINES = 20_000
_MAX_NAME = 120
_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*")
_ITEM = re.compile(r"([-*+•]|\(?\d{1,4}[.)])\s+(.+)")
_NEEDS = re.compile(r"\s*\(\s*(?:needs|requires|prerequisites?)\s*:?\s+([^()]*)\)\s*", re.IGNORECASE)
_ABOUT = re.compile(r"\s*(?::\s+|\s[-–—]\s+)")


@dataclass(frozen=True, slots=True)
class _Line:
    depth: int
    numbered: bool
    name: str
    about: str
    needs: tuple[str, ...]


def read(content: str, target: str) -> tuple[SkillGraph, list[str]]:
    """The graph of a document, and what was left out of it, one line each.

    Args:
        content: the text.
        target: the skill that all of it leads to.

    Raises:
        GraphError: too many lines, no usable one, or a target without a letter.
    """
    if not normalise(target):
        raise GraphError(f"target {target!r}: has neither a letter nor a digit")
    dropped = Dropped("syllabus")
    lines = _lines(content, dropped)
    if not lines:
        raise GraphError("syllabus: holds no line that names a skill")
    return _Reader(target, dropped).graph(lines)


def _lines(content: str, dropped: Dropped) -> list[_Line]:
    raw = content.splitlines()
    if len(raw) > MAX_LINES:
        raise GraphError(f"syllabus: {len(raw):,} lines, at most {MAX_LINES:,}")
    lines, fenced, heading = [], False, 0
    for each in raw:
        text = each.expandtabs(4)
        if text.strip().startswith("```"):
            fenced = not fenced
        if fenced or not any(c.isalnum() for c in text):
            continue
        if found := _HEADING.fullmatch(text.strip()):
            heading = len(found[1])
            lines.append(_line(heading, False, found[2]))
        else:
            indent = len(text) - len(text.lstrip())
            item = _ITEM.match(text.strip())
            body = item[2] if item else text.strip()
            lines.append(_line(heading + 1 + indent, bool(item and item[1][-1] in ".)"), body))
        if len(lines[-1].name) > _MAX_NAME or not match_key(lines[-1].name):
            dropped.add("lines that are no name", lines.pop().name)
    return lines


def _line(depth: int, numbered: bool, text: str) -> _Line:
    needs: tuple[str, ...] = ()
    if found := _NEEDS.search(text):
        needs = tuple(name.strip() for name in re.split(r"[,;]", found[1]) if match_key(name))
        text = text[: found.start()] + text[found.end() :]
    parts = _ABOUT.split(text.strip("*_` "), maxsplit=1)
    return _Line(depth, numbered, tidy(parts[0]), parts[1].strip() if len(parts) > 1 else "", needs)


class _Reader:
    def __init__(self, target: str, dropped: Dropped) -> None:
        self._dropped = dropped
        self._target = normalise(target)
        self._ids = {match_key(target): self._target}
        self._skills = {self._target: Skill(id=self._target, name=tidy(target), source="target")}
        self._edges: dict[tuple[str, str], Edge] = {}

    def graph(self, lines: list[_Line]) -> tuple[SkillGraph, list[str]]:
        above: list[tuple[int, str, bool]] = []
        for line in lines:
            skill = self._skill(line.name, line.about)
            before = None
            while above and above[-1][0] >= line.depth:
                depth, sibling, numbered = above.pop()
                before = sibling if depth == line.depth and numbered and line.numbered else None
            if before is not None:
                self._needs(skill, before)
            self._needs(above[-1][1] if above else self._target, skill)
            for name in line.needs:
                self._needs(skill, self._skill(name, ""))
            above.append((line.depth, skill, line.numbered))
        return self._whole()

    def _whole(self) -> tuple[SkillGraph, list[str]]:
        upwards = [edge for edge in self._edges.values() if edge.prerequisite != self._target]
        kept, out = resolve(upwards)
        for edge in out:
            self._dropped.add("closing a cycle", f"{edge.prerequisite} before {edge.skill}")
        needed = {edge.prerequisite for edge in kept} | {self._target}
        kept += [
            Edge(prerequisite=skill, skill=self._target, source="syllabus")
            for skill in self._skills
            if skill not in needed
        ]
        return build(self._target, self._skills.values(), kept), self._dropped.lines()

    def _skill(self, name: str, about: str) -> str:
        key = match_key(name)
        if key not in self._ids:
            self._ids[key] = normalise(name)
            self._skills[self._ids[key]] = Skill(
                id=self._ids[key], name=tidy(name), description=about[:400], source="syllabus"
            )
        return self._ids[key]

    def _needs(self, skill: str, before: str) -> None:
        if skill != before:
            edge = Edge(prerequisite=before, skill=skill, source="syllabus")
            self._edges.setdefault((before, skill), edge)
