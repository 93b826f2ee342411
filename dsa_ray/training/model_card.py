"""The model card of a student: README.md with front matter that hubs read, and the run's facts for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dsa_ray import plain_yaml
from dsa_ray.config import Config
from dsa_ray.storage.versions import versions

CARD = "README.md"
EMBEDDED_LICENSE = "apache-2.0"
"""Of the built-in models: that of this project."""
_LICENSE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,39}$")
_HUB_NAME = re.compile(r"^[\w.-]+/[\w.-]+$")
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What is known when the card is written; None is left out."""

    step: int
    skills: int | None = None
    prerequisites: int | None = None
    """Edges of the skill graph."""
    textbooks: int | None = None
    exercises: int | None = None
    tokens: int | None = None
    """Trained on, without padding."""
    accuracy: Mapping[str, float] = field(default_factory=dict)
    """`before` and `after`: share of right answers in the exam on the taught skills, 0..1."""
    base_license: str | None = None
    merged: bool = False
    """With LoRA: the card is that of the whole model, with the adapter folded in, not the adapter's."""


def model_card(config: Config, facts: CardFacts) -> str:
    """Markdown. Texts from outside (target, names) are quoted, so that they cannot become markup."""
    train = config.train
    adapter = train.lora_rank > 0
    front: dict[str, Any] = {
        "library_name": "peft" if adapter and not facts.merged else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["dsa_ray", "skill-graph", "synthetic-data"],
    }
    if _HUB_NAME.match(config.student.model):
        front["base_model"] = config.student.model
    if facts.base_license:
        front["license"] = facts.base_license
    method = f"LoRA, rank {train.lora_rank}{', merged' if facts.merged else ''}" if adapter else "all weights"
    rows = {
        "Target skill": _quoted(config.graph.target),
        "Base model": _quoted(_shown(config.student.model)),
        "Teacher": _quoted(_shown(config.teacher.model)),
        "Tuned": f"{method}, {train.precision}, ZeRO-{train.zero_stage}, {train.ranks} ranks",
        "Optimizer steps": f"{facts.step:,}",
        "Tokens": _count(facts.tokens),
        "Skill graph": _graph(facts),
        "Textbooks": _count(facts.textbooks),
        "Exercises written": _count(facts.exercises),
        **{f"Accuracy {when}": f"{share:.1%}" for when, share in facts.accuracy.items()},
        "Run": f"{_quoted(config.run.name)}, seed {config.run.seed}",
        "Versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n# A student of {_quoted(config.graph.target)}\n\n"
        "Trained by dsa_ray on textbooks and exercises that a teacher model wrote along a skill graph. Its knowledge "
        "of these skills comes from generated text, part of which is wrong; check answers that matter.\n\n"
        f"| Fact | Value |\n|---|---|\n{table}\n"
    )


def license_of(model: str) -> str | None:
    """The licence that a base model's own card names; None when it is not known. Nothing is downloaded.

    Args:
        model: `embedded:...`, a folder, or a Hugging Face name whose files are in the cache.
    """
    if model.startswith("embedded:"):
        return EMBEDDED_LICENSE
    card = Path(model, CARD) if Path(model).is_dir() else _cached_card(model)
    try:
        found = _FRONT_MATTER.match(card.read_text(encoding="utf-8", errors="replace")) if card else None
        front = plain_yaml.load(found[1]) if found else None
    except (OSError, yaml.YAMLError):
        return None
    named = front.get("license") if isinstance(front, dict) else None
    return named if isinstance(named, str) and _LICENSE.match(named) else None


def _cached_card(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(name, CARD)
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


def _graph(facts: CardFacts) -> str:
    if facts.skills is None:
        return ""
    edges = "" if facts.prerequisites is None else f", {facts.prerequisites:,} prerequisites"
    return f"{facts.skills:,} skills{edges}"


def _shown(model: str) -> str:
    """A folder's path says where somebody's disk is: its last part is enough."""
    return model if _HUB_NAME.match(model) or model.startswith("embedded:") else Path(model).name


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _quoted(text: str) -> str:
    """One line of plain text in a code span: neither markup nor HTML."""
    plain = " ".join(text.split()).replace("`", "'").replace("|", "/")
    return f"`{plain}`"
