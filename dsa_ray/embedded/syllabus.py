"""The syllabus of `syllabus.yaml` as values: skills with prerequisites, and the target phrases above them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

PATH = Path(__file__).parent / "syllabus.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyllabusSkill:
    """One skill of the syllabus.

    Example:
        SyllabusSkill(id="like-terms", name="Like terms", description="...", rule="...", needs=("Addition",))
    """

    id: str
    name: str
    description: str
    rule: str
    """What a textbook states: the key concepts."""
    needs: tuple[str, ...] = ()
    """Names of the direct prerequisites."""
    aliases: tuple[str, ...] = ()
    elementary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetField:
    """A field such as differential calculus: the words that name it and the skills directly below it."""

    topics: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Syllabus:
    skills: tuple[SyllabusSkill, ...]
    """In learning order: prerequisites come first."""
    fields: tuple[TargetField, ...]
    """The last one is what an unknown phrase is taken for."""
    patterns: tuple[str, ...]
    """Phrases with `{topic}`, of which training targets are made."""
    held_out: str
    """A target phrase that no training target resembles."""

    @property
    def taught(self) -> tuple[SyllabusSkill, ...]:
        return tuple(skill for skill in self.skills if not skill.elementary)

    @property
    def elementary(self) -> tuple[SyllabusSkill, ...]:
        return tuple(skill for skill in self.skills if skill.elementary)

    def skill(self, id: str) -> SyllabusSkill:
        return _by_id()[id]

    def find(self, name: str) -> SyllabusSkill | None:
        """The skill with this name or alias, in any spelling of cases, hyphens and a leading article."""
        return _by_name().get(slug(name))

    def field_of(self, phrase: str) -> TargetField:
        """The field that a target phrase names: by its longest known topic, else the last field."""
        spelt = f"-{slug(phrase)}-"
        known = [
            (len(topic), field) for field in self.fields for topic in map(slug, field.topics) if f"-{topic}-" in spelt
        ]
        return max(known, key=lambda pair: pair[0])[1] if known else self.fields[-1]

    def targets(self) -> tuple[tuple[str, TargetField], ...]:
        """Every training target phrase with its field."""
        return tuple(
            (pattern.format(topic=topic), field)
            for field in self.fields
            for topic in field.topics
            for pattern in self.patterns
        )


def slug(name: str) -> str:
    """The id of a name: "The chain rule" -> "chain-rule"."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "-".join(words[1:] if words[:1] == ["the"] else words)


@lru_cache(maxsize=1)
def load() -> Syllabus:
    """The syllabus that is shipped."""
    data = yaml.safe_load(PATH.read_text())
    skills = tuple(_skill(entry) for entry in data["skills"])
    targets = data["targets"]
    fields = tuple(
        TargetField(topics=tuple(targets[key]["topics"]), needs=tuple(targets[key]["needs"]))
        for key in ("differential", "integral", "calculus")
    )
    return Syllabus(skills=skills, fields=fields, patterns=tuple(targets["patterns"]), held_out=targets["held_out"])


def _skill(entry: dict) -> SyllabusSkill:
    return SyllabusSkill(
        id=slug(entry["name"]),
        name=entry["name"],
        description=entry["description"],
        rule=entry["rule"],
        needs=tuple(entry.get("needs", ())),
        aliases=tuple(entry.get("aliases", ())),
        elementary=entry.get("elementary", False),
    )


@lru_cache(maxsize=1)
def _by_id() -> dict[str, SyllabusSkill]:
    return {skill.id: skill for skill in load().skills}


@lru_cache(maxsize=1)
def _by_name() -> dict[str, SyllabusSkill]:
    return {slug(name): skill for skill in load().skills for name in (skill.name, *skill.aliases)}
