"""The syllabus of `syllabus.yaml` as values: skills with prerequisites, and the target phrases above them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from dsa_ray.skills.names import match_key, normalise

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
        """The skill with this name or alias, however it is spelt."""
        return _by_name().get(match_key(name))

    def field_of(self, phrase: str) -> TargetField:
        """The field that a target phrase names: by its longest known topic, else the last field."""
        spelt = f"-{normalise(phrase)}-"
        topics = [(normalise(topic), field) for field in self.fields for topic in field.topics]
        known = [(len(topic), field) for topic, field in topics if f"-{topic}-" in spelt]
        return max(known, key=lambda pair: pair[0])[1] if known else self.fields[-1]

    def targets(self) -> tuple[tuple[str, TargetField], ...]:
        """Every training target phrase with its field."""
        return tuple(
            (pattern.format(topic=topic), field)
            for field in self.fields
            for topic in field.topics
            for pattern in self.patterns
        )


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
        id=normalise(entry["name"]),
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
    return {match_key(name): skill for skill in load().skills for name in (skill.name, *skill.aliases)}
