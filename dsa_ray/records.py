"""The records that travel round the ring: one frozen dataclass per arrow.

No heavy import here: queues and actors deserialise these everywhere. An id is an integer, minted once by
the curator when a request is made; whatever is written for that request keeps the id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


def shallow(record: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, their values as they are: `dataclasses.asdict` takes ten times as long."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


class Scope(StrEnum):
    """How far a ring goes: each does what the one before it does, and more."""

    GRAPH = "graph"
    TEXTS = "texts"
    TRAINING = "training"


class Kind(StrEnum):
    """What a request asks the teacher to write."""

    PREREQUISITES = "prerequisites"
    """The skills needed before a skill (DSA graph construction)."""
    TEXTBOOK = "textbook"
    """A textbook page for one skill."""
    EXERCISE = "exercise"
    """An exercise that needs all the named skills."""
    VARIANT = "variant"
    """A similar exercise: the consequence of a hard-to-learn verdict."""
    COMPOSED = "composed"
    """One exercise that combines two easy ones of different skills."""
    HARDER = "harder"
    """The same skill one difficulty up."""
    FIELDS = "fields"
    """The fields of the target (GLAN taxonomy)."""
    SUBFIELDS = "subfields"
    """The sub-fields of a field."""
    DISCIPLINES = "disciplines"
    """The disciplines of a sub-field."""
    SUBJECTS = "subjects"
    """The subjects of a discipline."""
    SYLLABUS = "syllabus"
    """The syllabus of a subject, as text."""
    SESSIONS = "sessions"
    """The class sessions of a syllabus."""
    CONCEPTS = "concepts"
    """The key concepts of its sessions."""
    EASIER = "easier"
    """The same skill one difficulty down: a step towards an exercise that is too hard."""
    GIVEN = "given"
    """An exercise from the user's own data: no teacher is asked."""
    ANSWER = "answer"
    """A solution and an answer to a question that is already written, perhaps by another model."""
    CRITIQUE = "critique"
    """A judgement of an exercise: what is wrong with it, and a score."""
    GENERALIZED = "generalized"
    """The same concept and difficulty asked in another form: a rung of a ladder (YODA)."""
    HINT = "hint"
    """Feedback on a student's answer that does not tell the result (YODA)."""


EXERCISE_KINDS = frozenset(
    {Kind.EXERCISE, Kind.VARIANT, Kind.COMPOSED, Kind.HARDER, Kind.EASIER, Kind.GIVEN, Kind.GENERALIZED}
)
REVIEW_KINDS = frozenset({Kind.ANSWER, Kind.CRITIQUE})
"""What is written about an exercise before it is trained on."""
CHILD_KINDS = frozenset({Kind.VARIANT, Kind.COMPOSED, Kind.HARDER, Kind.EASIER})
LIST_KINDS = frozenset(
    {Kind.PREREQUISITES, Kind.FIELDS, Kind.SUBFIELDS, Kind.DISCIPLINES, Kind.SUBJECTS, Kind.SESSIONS, Kind.CONCEPTS}
)
"""Kinds whose answer is a list of names, each with a line of text: what a skill graph is made of."""
GRAPH_KINDS = LIST_KINDS | {Kind.SYLLABUS}
"""Kinds that draw the skill graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One class session of a subject's syllabus, with the key concepts that it teaches (GLAN)."""

    name: str
    description: str = ""
    concepts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A node of the skill graph.

    Example:
        Skill(id="chain-rule", name="Chain rule", level=4, source="teacher", found_from="differential-calculus")
    """

    id: str
    """Normalised name: lower case, words joined by '-'. Unique in a graph."""
    name: str
    """As the teacher or the syllabus wrote it."""
    description: str = ""
    """One sentence, may be empty."""
    level: int = 0
    """Longest path from a skill without prerequisites (0 = elementary)."""
    source: str = "teacher"
    """Who brought it in: target, teacher, syllabus, taxonomy or hand."""
    found_from: str | None = None
    """Id of the skill whose decomposition named it first."""
    request: int | None = None
    """Id of the request whose answer named it first."""
    generator: str = ""
    """Model and version that gave this answer."""
    proposals: int = 1
    """How many answers, documents and people named it."""
    group: bool = False
    """A heading of a taxonomy: it holds skills and is neither taught nor practised itself."""
    sessions: tuple[Session, ...] = ()
    """The syllabus of a subject, in teaching order (GLAN); empty elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`prerequisite` has to be learned before `skill` (both are skill ids)."""

    prerequisite: str
    skill: str
    source: str = "teacher"
    """Who proposed it first: teacher, syllabus, taxonomy, hand; `repair` where contradictions left a loose end."""
    request: int | None = None
    """Id of the request whose answer proposed it first."""
    generator: str = ""
    """Model and version that gave this answer."""
    proposals: int = 1
    """How many answers, documents and people proposed it: its evidence where edges contradict each other."""
    transfer: float | None = None
    """How much training on the prerequisite lowers the skill's loss, where that was measured (Skill-It)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillGraph:
    """A directed acyclic graph of skills; `skills` is in learning order (level, then name)."""

    target: str
    """Id of the skill that the run teaches."""
    skills: tuple[Skill, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExerciseRequest:
    """An order for one piece of text; the type that starts the ring and that closes it."""

    id: int
    """Minted once; the written item keeps it."""
    kind: Kind
    skills: tuple[str, ...]
    """Skill ids. One for prerequisites and textbooks, one or more for exercises."""
    difficulty: int = 1
    """1 (easiest) to 5."""
    parents: tuple[int, ...] = ()
    """Ids of the exercises that it descends from; two for a composed one."""
    cause: tuple[int, int] | None = None
    """(exercise, cycle) of the verdict that ordered it: the key that keeps a verdict from ordering twice."""
    concepts: tuple[tuple[int, int], ...] = ()
    """(session, concept) places in the first skill's syllabus that the exercise is to use (GLAN)."""
    attempt: int = 0
    """How many times it was given out before."""
    seed: int = 0
    """Sampling seed of this attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRef:
    """Where a written item lies: row `row` of segment `segment` of the run's `written` journal."""

    segment: int
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillBrief:
    """What a prompt says of a skill: the graph's words, without the graph."""

    id: str
    name: str
    description: str = ""
    prerequisites: tuple[str, ...] = ()
    """Names of its direct prerequisites."""
    level: int = 0
    sessions: tuple[Session, ...] = ()
    """The whole syllabus of a subject (GLAN)."""
    part_of: tuple[str, ...] = ()
    """Names of the headings above it in a taxonomy, the nearest first."""

    @classmethod
    def outside(cls, skill: str) -> SkillBrief:
        """Of a skill outside the graph, by its id: of an exercise from the user's own data."""
        return cls(id=skill, name=skill.replace("-", " "))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A leased request with all that is needed to render its prompt."""

    request: ExerciseRequest
    skills: tuple[SkillBrief, ...]
    parents: tuple[TextRef, ...] = ()
    """Where the parents' texts lie, in the order of `request.parents`."""
    attempts: tuple[str, ...] = ()
    """Of a hint: what the student has answered to the parent so far, oldest first."""
    hints: tuple[str, ...] = ()
    """Of a hint: what it was told after each of these but the last."""
    found_wrong: bool = False
    """Of a hint: a checker has found the last of these wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What an engine answered to one assignment: untrusted text with its origin."""

    request: ExerciseRequest
    text: str
    finish_reason: str
    """`stop`, `length`, or `error` (then `text` is the engine's message)."""
    generator: str
    """Model name or path, as configured."""
    generator_version: str
    """Weights version, and incarnation of the replica, e.g. `0/teacher-1.0`."""
    prompt_version: str
    """Template name and content hash, e.g. `exercise@3f9a1c20`."""
    output_tokens: int
    seconds: float
    question: str = ""
    """Of an answer: the question that it answers."""
    input_tokens: int = 0
    """Tokens of the prompt, as the engine counted them; 0 where it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisites:
    """The teacher's answer to one of `LIST_KINDS`: (name, text) pairs in the order given; may be empty.

    The text is a description; of a subject its level and subtopics, of a key concept the session that it belongs to.
    """

    skill: str
    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Textbook:
    """A textbook page on one skill."""

    skill: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """A question with a worked solution and a final answer. Whether the answer is right is not known."""

    skills: tuple[str, ...]
    question: str
    solution: str
    answer: str


CUT = "cut"
"""Result of the check `too_long` for an exercise whose solution was cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Critique:
    """A judgement of an exercise."""

    critique: str
    score: int
    """1 (wrong or useless) to 5 (right, clear and worth solving)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Feedback on a student's answer."""

    hint: str
    right: bool
    """Whether the teacher holds the answer for right; counts only where no checker can tell."""


Item = Prerequisites | Textbook | Exercise | Critique | Hint
"""What a completion can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An item that passed the checks, with its lineage and its tokens. The row of the `written` journal."""

    request: ExerciseRequest
    item: Item
    generator: str
    generator_version: str
    prompt_version: str
    content_hash: int
    """64-bit hash of the normalised text; serves duplicates only."""
    answer_hash: int = 0
    """64-bit hash of the normalised final answer, equal for equal numbers; 0 where there is none."""
    input_ids: tuple[int, ...] = ()
    """The student's tokens: prompt and answer, end token included. Empty for prerequisites."""
    prompt_tokens: int = 0
    """The first so many of `input_ids` carry no loss (0 for a textbook)."""
    checks: tuple[tuple[str, str], ...] = ()
    """(check, result) pairs, one per check that ran."""
    output_tokens: int = 0
    seconds: float = 0.0
    input_tokens: int = 0
    """Of the teacher's prompt."""

    @property
    def tokens(self) -> int:
        return len(self.input_ids)

    @property
    def loss_tokens(self) -> int:
        """Tokens that carry loss. The first token of a row is never predicted."""
        return max(0, len(self.input_ids) - max(1, self.prompt_tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """An item that failed: data, not a crash."""

    request: ExerciseRequest
    reason: str
    """A short key, bounded in number: schema, truncated, duplicate, contaminated, too_long, engine, ..."""
    detail: str = ""
    """At most 200 characters for people."""
    output_tokens: int = 0
    input_tokens: int = 0
    seconds: float = 0.0
    """What it cost all the same."""
    generator_version: str = ""
    """Of the completion: which replica wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The loss of one exercise on one visit, taken from the training forward pass."""

    exercise: int
    visit: int
    """1-based."""
    step: int
    """Optimizer step of the run, over both phases, 1-based."""
    loss: float
    """Mean token cross-entropy over the answer tokens, nats."""
    tokens: int
    """Answer tokens."""


class VerdictClass(StrEnum):
    ERRONEOUS = "erroneous"
    HARD = "hard_to_learn"
    EASY = "easy_to_learn"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one exercise was learned in one cycle of E visits."""

    exercise: int
    cycle: int
    """0-based: visits cycle*E+1 .. (cycle+1)*E."""
    step: int
    """The step at which it was given: whose loss completed the cycle, or the burn-in."""
    verdict: VerdictClass
    mean_loss: float
    """Mean of the cohort residuals, less the level of the exercise's skills; of what `dynamics.measure` says."""
    loss_spread: float
    """Population standard deviation of the residuals."""
    reason: str
    """Which inequality decided, with the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderLease:
    """A ladder that is to be climbed from an exercise (YODA)."""

    exercise: int
    ref: TextRef
    """Where the exercise's text lies."""
    first: int
    """First of the ids that are kept for what the ladder teaches (`sections.LADDER_IDS`)."""
    skills: tuple[SkillBrief, ...]


class Action(StrEnum):
    DROP = "drop"
    AUGMENT = "augment"
    LADDER = "ladder"
    """The student climbs a ladder from it, with the teacher's hints (YODA)."""
    COMPOSE = "compose"
    DOWN_WEIGHT = "down_weight"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The consequence of a verdict. A value: the controller carries it out."""

    exercise: int
    cycle: int
    actions: tuple[Action, ...]
    weight: float
    """Sampling weight from now on; 0 = dropped."""
    orders: tuple[Order, ...] = ()
    """What to have written."""
    reason: str = ""
    """Why, where the verdict alone does not say it: drop_cap, waiting, ordered_before, step_down, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request before it has an id."""

    kind: Kind
    skills: tuple[str, ...]
    difficulty: int
    parents: tuple[int, ...]
    concepts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedItem:
    """One example inside a packed row."""

    exercise: int
    """Id of the example; a planted one has an id of its own."""
    prompt: TextRef
    """Whose prompt tokens are used."""
    answer: TextRef
    """Whose answer tokens are used: the same place, but for planted wrong answers."""
    tokens: int
    loss_tokens: int
    visit: int
    """1-based visit of this example."""
    weight: float = 1.0
    """Multiplies its loss; 0 = forward only (probe)."""
    offset: int = 0
    """First token taken of a textbook that is longer than a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """A training lease: one packed row for one rank. Planned whole steps at a time, so all ranks hold equally many."""

    lease: int
    """Number of the lease; unique in a run."""
    rank: int
    attempt: int
    """Which attempt of the trainer it was given to; older attempts are reclaimed."""
    step: int
    """Optimizer step that trains it, 1-based, over both phases."""
    phase: str
    """`textbooks` or `exercises`."""
    progress: float
    """Where the step lies in its phase, 0..1: what the learning-rate schedule reads."""
    denominator: float
    """Sum of weight * loss_tokens over all rows of the step, all ranks: makes the loss an exact token mean."""
    items: tuple[PackedItem, ...]
