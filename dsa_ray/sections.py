"""What the sections of the configuration are made of, the parts of its `generate` section, and `curriculum`.

Part of `dsa_ray.config`, which checks the parts against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def leaves(
    values: Mapping[str, Any] | list[Any] | tuple[Any, ...], prefix: str = "", *, into_lists: bool = False
) -> Iterator[tuple[str, Any]]:
    """Nested plain values, as of `model_dump`, as pairs of a dotted key and a value.

    A list is a value, or with `into_lists` a section whose keys are 0, 1, 2; what is empty is a value.
    """
    for name, value in values.items() if isinstance(values, Mapping) else enumerate(values):
        nested = isinstance(value, Mapping) or (into_lists and isinstance(value, list | tuple))
        if nested and value:
            yield from leaves(value, f"{prefix}{name}.", into_lists=into_lists)
        else:
            yield f"{prefix}{name}", value


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
    """What generation may cost. A teacher that no longer fits into it is asked nothing more; others who write the same
    take over its work, and without any the run goes on with what it has. Where some teachers have a price and others
    have none, all limits count and stop the paid ones only."""

    tokens: Positive | None = None
    """Prompt and answer tokens together, rejected attempts included."""
    seconds: float | None = Field(default=None, gt=0)
    """Time of all requests added up, seconds."""
    money: float | None = Field(default=None, gt=0)
    """In the currency of the prices."""
    input_price: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens, for teachers without `input_price`."""
    output_price: float = Field(default=0.0, ge=0)
    """Price of a million answer tokens, for teachers without `output_price`."""


LADDER_IDS = 64
"""Ids that are kept for what a ladder teaches: two for each of its questions, of which there are at most 25."""


class LaddersConfig(Section):
    """Ladders (YODA): from a basic question to harder ones. The numbers are ours; the paper's are not known."""

    generalized: Annotated[int, Field(ge=0, le=16)] = 2
    """Questions of the same difficulty in another form, per basic question."""
    harder: Annotated[int, Field(ge=0, le=8)] = 2
    """Length of the chain of harder questions above it."""
    refinements: Annotated[int, Field(ge=0, le=8)] = 2
    """Further answers that the student may give to a question after a wrong one, each with a hint."""
    demonstrate: bool = False
    """A question that the student never came to answer is taught by the teacher's solution; else it is left out."""
    order: Literal["curriculum", "shuffled"] = "curriculum"
    """Of what is learnt: all basic questions, then the generalized, then the harder by level; or mixed."""
    at_once: Positive = 64
    """Ladders that are climbed at one time."""
    temperature: float = Field(default=0.0, ge=0)
    """Of the student's first answer to a question; 0 = greedy."""
    retry_temperature: float = Field(default=0.7, ge=0)
    """Of its further answers."""
    hard_verdicts: Positive = 3
    """A skill gets ladders when so many of its latest verdicts in a row were hard-to-learn."""
    per_skill: Positive = 16
    """Ladders for each such skill, from its hardest exercises; live, from the first ones that get a verdict."""
    live: bool = False
    """Climb while the run trains, in the place of the variants that verdicts would order; else by `jobs/ladders.py`.
    Needs `train.publish_every`."""


class SeedConfig(Section):
    """A file of exercises: JSONL or Parquet, with plain columns or with Hugging Face `messages`."""

    path: str
    """The file; its name ends in .jsonl or .parquet. A path or a URI."""
    skill: str | None = None
    """The skill that all of it belongs to, by name, in any spelling."""
    skill_field: str | None = None
    """Or the column that names each row's skill, or lists its skills, in any spelling."""
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


class FrontierConfig(Section):
    """When the exercises of a skill enter training, and what happens where a mastered one is forgotten."""

    gate: float | None = Field(default=None, gt=0)
    """Exercises wait until each prerequisite of their skills is passed: median loss of its last first visits at most
    this, nats per answer token. None: they enter at once."""
    window: Positive = 16
    """First visits of a skill over which this median runs; before there are so many it is not passed."""
    regress: float = Field(default=1.5, ge=1)
    """A passed skill whose median rises above so many times the gate has regressed."""
    replay: int = Field(default=8, ge=0)
    """Exercises that are ordered of a skill when it has regressed."""


class CurriculumConfig(Section):
    """Which skill is practised next (Skill-It, arXiv 2307.14430), and the baselines it is compared with."""

    sampler: Literal[
        "dynamics",
        "random",
        "stratified",
        "curriculum",
        "anti_curriculum",
        "skill_curriculum",
        "skill_anti_curriculum",
        "skill_it",
    ] = "dynamics"
    """`dynamics`: by the exercises' weights alone; all others choose the skill first and then go by these weights."""
    setting: Literal["pretraining", "finetuning", "out_of_domain"] = "pretraining"
    """Which skills the mixture looks at: all that are trained, some of them, or others (see `targets`)."""
    targets: tuple[str, ...] = ()
    """With `finetuning` and `out_of_domain`: the names of these skills; out of domain they are never trained on."""
    eta: float = Field(default=0.5, gt=0)
    """Step size of the mixture's update."""
    rounds: Positive = 6
    """The mixture changes so often over the exercise steps; 1 keeps the first one."""
    window: Positive = 3
    """Rounds (`form: paper`) or evaluations (`form: code`) that an update looks back on."""
    form: Literal["paper", "code"] = "paper"
    """As the paper has the update, or as its authors' code does it."""
    refit: float = Field(default=0.0, ge=0)
    """`skill_it`: above 0, the graph's weights are fitted to the rounds so far, and it counts as 1 over this many."""
    held_out: Positive = 4
    """Exercises of each skill that are kept from training: their losses are what the mixture goes by."""
    evaluations: Positive = 2
    """How often in a round these losses are taken, among the trained rows, without waiting for them."""
    earlier: Share = 0.4
    """`skill_curriculum`: exercises of each earlier skill, per exercise of the skill whose turn it is."""
