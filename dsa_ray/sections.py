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
    """So many items are remembered for it, about 5 KB each; beyond them the oldest is forgotten."""
    mathematics: bool = False
    """Equations between numbers in a solution hold, and a final answer that it names is the item's answer."""
    user: tuple[str, ...] = ()
    """Your own checks, `package.module:function`: takes a `Textbook` or `Exercise`, returns what is wrong or None."""
    votes: Annotated[int, Field(ge=0, le=64)] = 0
    """Answers asked for to each question, which vote on its answer before it is trained on; 0 leaves the vote out."""
    agreement: Share = 0.5
    """Share of the votes that the winning answer needs; with less the exercise is dropped as `disagreement`."""
    judge: Annotated[int, Field(ge=0, le=5)] = 0
    """Least score, 1 to 5, that a critique by a teacher has to give an exercise; 0 leaves the judge out."""


class BudgetConfig(Section):
    """What generation may cost; at the limit no more is asked of the teachers, and the run goes on with what it has."""

    tokens: Positive | None = None
    """Prompt and answer tokens together, rejected attempts included."""
    seconds: float | None = Field(default=None, gt=0)
    """Time of all requests added up, seconds."""
    money: float | None = Field(default=None, gt=0)
    """In the currency of the prices."""
    input_price: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens."""
    output_price: float = Field(default=0.0, ge=0)
    """Price of a million answer tokens."""


class SeedConfig(Section):
    """A file of exercises: JSONL or Parquet, with plain columns or with Hugging Face `messages`."""

    path: str
    """The file; its name ends in .jsonl or .parquet. A path or a URI."""
    skill: str | None = None
    """The skill that all of it belongs to, by name."""
    skill_field: str | None = None
    """Or the column that names each row's skill, or lists its skills."""
    question_field: str = "question"
    """The column of the question."""
    answer_field: str = "answer"
    """The final answer, or a whole solution that ends with it (`#### 18`, `Answer: 18`, `\\boxed{18}`)."""
    solution_field: str | None = None
    """The worked solution, where it stands in a column of its own."""
    messages_field: str | None = None
    """The column of chat messages: the first user turn is the question, the turn after it the solution and answer."""
    difficulty: Annotated[int, Field(ge=1, le=5)] = 3
    """What all of it counts as."""
    limit: Positive | None = None
    """Only so many rows, from the first on."""
