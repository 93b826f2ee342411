"""What the sections of the configuration are made of, and the parts of its `generate` section.

Part of `dsa_ray.config`, which checks the parts against each other.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ChecksConfig(Section):
    """What an item has to pass; each check that ran is a pair in the item's `checks` column."""

    length: bool = True
    """Texts have a least length."""
    language: bool = True
    """No damaged or endlessly repeated text, none in a script that its skills are not named in."""
    refusal: bool = True
    """The teacher does not refuse."""
    contaminated: bool = True
    """No text holds a question of the run's exam, or of the sets in `generate.decontaminate`."""
    contamination_jaccard: float = Field(default=0.2, gt=0, le=1)
    """From this similarity of 5-grams on, a question counts as one of an evaluation set."""
    duplicate: bool = True
    """No two items have the same words."""
    near_duplicate: Share = 0.0
    """From this similarity of word trigrams on, an item is a near-duplicate of any other; 0 leaves the check out."""
    near_duplicate_in_skill: Share = 0.0
    """The same among items that share a skill, where less similarity may be too much; 0 leaves it out."""
    near_duplicate_items: Positive = 50_000
    """So many items are remembered for it, about 4 KB each; beyond them the oldest is forgotten."""
    mathematics: bool = False
    """Equations between numbers in a solution hold, and a final answer that it names is the item's answer."""
    user: tuple[str, ...] = ()
    """Your own checks, `package.module:function`: takes a `Textbook` or `Exercise`, returns what is wrong or None."""
