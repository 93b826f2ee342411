"""The sections of the configuration: every value, its default and what it may be.

Part of `dsa_ray.config`, which reads them and checks them against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Group = Literal["core", "teacher", "student", "rank"]
GROUPS: tuple[str, ...] = get_args(Group)
ResourceName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
Quantization = Literal[
    "awq",
    "gptq",
    "fp8",
    "modelopt",
    "modelopt_fp4",
    "compressed-tensors",
    "experts_int8",
    "quark",
    "torchao",
    "inc",
    "mxfp4",
    "mxfp8",
    "fp8_per_tensor",
    "fp8_per_block",
    "fp8_per_channel",
    "int8_per_channel_weight_only",
    "nvfp4_per_token",
]
MOST_ANSWER_S = 2.0
"""No check of an item takes longer."""


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


class RunConfig(Section):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the run; its folder is `storage`/`name`."""
    storage: str = "runs"
    """Folder or URI (s3://, gs://) that holds run folders. In a submitted job it must be absolute or a URI."""
    seed: int = 0
    """Seed of every random choice."""
    loggers: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ()
    """Where metrics go beside metrics.jsonl; each needs its package."""
    project: str = Field(default="dsa_ray", min_length=1, max_length=100)
    """Project or experiment of the loggers that have one."""


class GraphConfig(Section):
    target: str = Field(min_length=1, max_length=200)
    """The skill to teach, in words."""
    max_depth: Positive = 8
    """Decomposition stops this many steps below the target."""
    max_skills: Positive = 64
    """No further skills are added beyond this many."""
    min_skills: Positive = 2
    """A graph with fewer skills stops the run: the teacher could not decompose the target."""
    elementary: tuple[str, ...] = ()
    """Names, in any spelling, of skills that are taken as known: never decomposed, never taught, only examined."""
    kind: Literal["skill", "taxonomy"] = "skill"
    """`skill`: what the target needs, recursively (DSA); `taxonomy`: its fields, disciplines and subjects (GLAN)."""
    file: str | None = None
    """A graph to start from: nothing is decomposed, except with `grow`. A .yaml, .json or .graphml file, or the folder
    of an InstructLab taxonomy, whose examples and passages are taken in too."""
    grow: bool = False
    """With `file`: the teacher decomposes further below its skills that need nothing yet."""
    syllabus: str | None = None
    """A text or Markdown file whose topics go into the graph before the teacher is asked; it outweighs the teacher."""
    taxonomy: str | None = None
    """With `kind: taxonomy`: a YAML file of entries that people wrote or marked; the teacher fills in the rest."""
    until: Literal["field", "subfield", "discipline", "subject", "sessions"] = "sessions"
    """With `kind: taxonomy`: the last tier that the teacher fills; a draft to mark ends earlier."""
    queries: Positive = 1
    """How often the teacher is asked about each skill (of a taxonomy: for each discipline's subjects; GLAN: 10)."""
    similarity: float = Field(default=1.0, ge=0.5, le=1.0)
    """Names whose words are at least so alike in spelling are one skill; 1 merges other forms of one name only."""
    embedding: str | None = None
    """Folder of a Hugging Face encoder; names that it finds alike are one skill too."""
    embedding_similarity: float = Field(default=0.92, ge=0.0, le=1.0)
    """With `embedding`: from this cosine on."""


class TeacherConfig(Section):
    kind: Literal["vllm", "openai", "python"] = "vllm"
    """`vllm`: replicas in this cluster; `openai`: any OpenAI-compatible endpoint; `python`: your own engine class."""
    model: str = "embedded:teacher"
    """Hugging Face name, a folder, or `embedded:teacher`; with `openai` the served model's name."""
    factory: str | None = None
    """With `python`: `package.module:callable` that returns a text engine."""
    base_url: str | None = None
    """With `openai`: the endpoint, e.g. http://127.0.0.1:8000/v1."""
    api_key_env: str = "OPENAI_API_KEY"
    """With `openai`: the environment variable that holds the key."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """In which the weights are held; `auto` takes the model's own."""
    max_model_len: Positive = 1024
    """Longest prompt plus answer, tokens."""
    adapter: str | None = None
    """Folder of a LoRA adapter in PEFT's format that the model is served with (vllm only)."""
    quantization: Quantization | None = None
    """How the weights are quantised (vllm only); none: as the model itself says. `fp8_per_tensor` and others quantise a
    whole model while it is loaded."""
    chat_template: str | None = None
    """File with a Jinja chat template in place of the tokenizer's own (vllm only)."""
    prefix_caching: bool = True
    """Prompts that begin alike are computed once (vllm only)."""
    temperature: float | None = Field(default=None, ge=0)
    """Of this teacher's sampling; none: `generate.temperature`."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Of this teacher's sampling; none: `generate.top_p`."""
    tensor_parallel: Positive = 1
    """GPUs per replica."""
    memory_fraction: Share = 0.9
    """Share of a GPU's memory that vLLM may take (GPU only)."""
    kv_cache_gib: float = Field(default=0.5, gt=0)
    """Size of the KV cache (CPU only)."""
    input_price: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens; none: `generate.budget.input_price`. A teacher whose prices are 0 is free."""
    output_price: float | None = Field(default=None, ge=0)
    """Price of a million answer tokens; none: `generate.budget.output_price`."""

    @property
    def generator(self) -> str:
        """What its texts say that they were written by."""
        return self.model if self.adapter is None else f"{self.model}+{self.adapter}"


class PoolTeacher(TeacherConfig):
    """One of several teachers."""

    weight: float = Field(default=1.0, gt=0)
    """Its share of the work, relative to the weights of the others that write the same."""
    replicas: Positive = 1
    """Replicas of this teacher."""
    writes: tuple[Literal["questions", "answers", "critiques"], ...] = ("questions", "answers", "critiques")
    """What it is asked for; `questions` are whole exercises, textbooks and the graph."""


class StudentConfig(Section):
    model: str = "embedded:student"
    """Hugging Face name, a folder, or `embedded:student`."""
    max_model_len: Positive = 512
    """Longest question plus answer in the exam, tokens."""


class GenerateConfig(Section):
    replicas: Positive = 1
    """Teacher replicas; with `min_replicas`, at most so many."""
    min_replicas: int | None = Field(default=None, ge=0)
    """Let each teacher's replicas come and go between this, 0 allowed, and their number, by backlog; none keeps all."""
    in_flight: Positive = 64
    """Requests that one replica keeps in flight."""
    slots: Positive = 256
    """Requests leased or queued as ready at one time: the bound on generation's memory and on feedback lag."""
    exercises_per_skill: Positive = 32
    """Exercises written for every skill before any verdict."""
    opening_difficulty: Annotated[int, Field(ge=1, le=5)] = 3
    """Exercises that no verdict ordered cycle through difficulties 1 to this."""
    replay: float = Field(default=0.5, ge=0, le=8)
    """Exercises for an elementary skill, per exercise for a taught one: what is not practised is forgotten."""
    skills_per_exercise: tuple[Positive, ...] = (1, 2)
    """How many skills an exercise combines; drawn uniformly."""
    two_sessions: Share = 0.5
    """Of a subject with a syllabus: share of its exercises that join two class sessions; the others keep to one."""
    max_exercises: Positive = 100_000
    """No more exercises than this are ordered, children included."""
    temperature: float = Field(default=1.0, ge=0)
    """Of the teacher's sampling; 0 takes the likeliest token."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """The teacher samples from the likeliest tokens that together have this probability."""
    max_tokens: Positive = 256
    """Longest answer of the teacher, tokens; textbooks get `max_textbook_tokens`."""
    max_textbook_tokens: Positive = 640
    """Longest textbook page, tokens."""
    structured: bool = True
    """Constrain the answer to the JSON schema of its kind."""
    attempts: Positive = 3
    """A request that fails this often becomes a final rejection."""
    wait_share: Share = 1.0
    """Where training waits for texts (the first textbooks; an epoch's) it waits for this share; the rest join later."""
    request_timeout_s: float = Field(default=120.0, gt=0)
    """A request that a replica holds longer is given to another."""
    max_question_tokens: Positive = 384
    """An exercise (question and solution, student tokens) that is longer is treated as `long_exercises` says."""
    long_exercises: Literal["refuse", "truncate"] = "refuse"
    """`refuse`: rejected as too_long; `truncate`: its solution is cut off, without an end token. Both are counted."""
    checks: ChecksConfig = ChecksConfig()
    decontaminate: tuple[str, ...] = ()
    """Evaluation sets (JSONL files with a `question` per line; paths or URIs) whose questions must not be written."""
    budget: BudgetConfig = BudgetConfig()
    prompts: str | None = None
    """Folder of your own prompt templates (`exercise.j2`, ...); those that it lacks are the built-in ones."""
    seeds: tuple[SeedConfig, ...] = ()
    """Exercises of your own that are there from the start."""
    seed_variants: int = Field(default=0, ge=0)
    """Variants that a teacher writes of each of them."""


class TrainConfig(Section):
    ranks: Positive = 1
    """Data-parallel workers; with `min_ranks`, at most so many."""
    min_ranks: Positive | None = None
    """Let ranks come and go with their nodes, between this and `ranks`: training goes on from the last checkpoint with
    as many as there is room for, each with its `rows_per_step`. Needs `cluster.groups`; none keeps all."""
    resize_check_s: float = Field(default=60.0, gt=0)
    """With `min_ranks`: how often to look whether there is room for more ranks."""
    zero_stage: Literal[0, 1, 2, 3] = 2
    """DeepSpeed ZeRO stage."""
    precision: Literal["bf16", "fp32", "fp16"] = "bf16"
    """Of weights and activations; the optimizer keeps 32 bits."""
    optimizer: Literal["adamw"] = "adamw"
    """AdamW is the only one."""
    lora_rank: int = Field(default=0, ge=0)
    """0 tunes all weights; above, a PEFT adapter of this rank."""
    lora_targets: tuple[str, ...] = ()
    """Names of the modules that get an adapter, e.g. [q_proj, v_proj]; none: every linear layer but the output's."""
    quantize: Literal["none", "nf4"] = "none"
    """`nf4`: QLoRA, the frozen weights in 4 bits. GPUs only; needs bitsandbytes."""
    offload_optimizer: bool = False
    """ZeRO 1 and up: optimizer state lives in main memory."""
    offload_parameters: bool = False
    """ZeRO 3: weights live in main memory."""
    row_tokens: Positive = 512
    """Length of a packed row; at most 512 pays on CPU."""
    rows_per_step: Positive = 2
    """Packed rows per rank and optimizer step (gradient accumulation)."""
    slots: Positive = 32
    """Packed rows per rank that may be planned and not yet trained: feeds the rank, bounds the feedback lag."""
    steps: Positive = 200
    """Optimizer steps on exercises."""
    textbook_passes: int = Field(default=1, ge=0)
    """How often the textbooks are read before the exercises; 0 leaves them out."""
    textbook_replay: float = Field(default=0.0, ge=0, le=0.5)
    """Share of the rows of the second phase that read the textbooks again, in their order, among the exercises."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak of the schedule, on exercises."""
    textbook_learning_rate: float | None = Field(default=None, gt=0)
    """Defaults to `learning_rate`."""
    textbook_order: Literal["graph", "reversed", "shuffled"] = "graph"
    """`graph`: what is needed first comes first; the others are for comparison."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up; `constant` ignores `final_lr_share`."""
    warmup: Share = 0.05
    """Share of each phase over which the learning rate rises."""
    final_lr_share: Share = 0.1
    """Where the cosine or the line ends, as a share of the peak."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decoupled weight decay."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Gradients with a larger norm are scaled down to it."""
    non_finite: Literal["stop", "skip"] = "stop"
    """A NaN or infinite loss ends the run and names its exercises; `skip` leaves them out and drops them."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Compile the model's layers (torch.compile): some minutes at the start, faster steps after it. GPUs only."""
    checkpoint_every: Positive = 200
    """Steps between checkpoints; the last step is one too."""
    keep_checkpoints: Positive = 2
    """The last so many complete checkpoints are kept."""
    publish_every: int = Field(default=0, ge=0)
    """Steps between snapshots of the student that its replica takes up while training goes on; 0 = never."""
    keep_best: bool = False
    """Keep the checkpoint with the lowest mean loss too."""
    max_failures: int = Field(default=2, ge=0)
    """Trainer restarts after a worker's death."""
    deepspeed: dict[str, Any] = Field(default_factory=dict)
    """Passed through to DeepSpeed; keys that this configuration owns are refused."""
    peak_tflops: float | None = Field(default=None, gt=0)
    """Peak of one rank's device at `precision`, 1e12 operations per second, to which `mfu` is the share; none: that of
    the card in 16 bits, where it is a known one, else metrics have no `mfu`."""

    @property
    def rows_in_step(self) -> int:
        return self.ranks * self.rows_per_step


class QuantilesConfig(Section):
    """Shares of the last verdicts' exercises, after the regions of Dataset Cartography."""

    ambiguous: Share = 0.33
    """Those with the highest spread."""
    erroneous: Share = 0.05
    """Of the others: those with the highest mean; never more than `hard`."""
    hard: Share = 0.33
    """Of the others: the next highest means, the erroneous ones counted in."""
    easy: Share = 0.33
    """Of the others: the lowest means."""


class DynamicsConfig(Section):
    visits: int = Field(default=3, ge=1, le=1_000)
    """E: visits of an exercise that make a verdict."""
    schedule: Literal["continuous", "epochs"] = "continuous"
    """`epochs`: children are ordered at the end of an epoch and join the next one; training waits for them (DSA)."""
    measure: Literal["loss", "log_loss", "confidence"] = "log_loss"
    """What means and spreads are taken of: the loss (DSA), its logarithm, which compares losses by their ratio however
    far the student is, or exp(-loss), the confidence (Dataset Cartography)."""
    by_skill: bool = True
    """An exercise is compared with those of its own skills: their level is taken off its mean. Without, what is new
    looks erroneous beside what is known."""
    thresholds: Literal["baselines", "quantiles"] = "baselines"
    """What classes are told apart by: averages and planted wrong answers (DSA), or shares of the last verdicts."""
    error_level: float = Field(default=0.6, gt=0, le=1)
    """Where an exercise begins to look erroneous, between L_average (0) and L_b (1)."""
    quantiles: QuantilesConfig = QuantilesConfig()
    """With `thresholds: quantiles`."""
    visit_cap: int | None = Field(default=None, ge=1, le=10_000)
    """No exercise is trained on more often than this; default 2E."""
    baseline: Literal["inline", "probe"] = "inline"
    """Planted wrong answers: trained on among the rest (inline) or forward only (probe)."""
    planted_share: Share = 0.02
    """Planted wrong answers, per exercise."""
    planted_min: int = Field(default=64, ge=0)
    """At least this many planted, once enough exercises are written."""
    window: Positive = 128
    """Verdicts over which the averages L_average and sigma_average run; a skill's level, over four times as many."""
    cohort_steps: Positive = 32
    """Steps over which the running mean of losses runs, against which residuals are taken."""
    burn_in_verdicts: int = Field(default=128, ge=0)
    """The first verdicts wait until so many cycles are complete, for before the averages are not known."""
    drop_cap: Share = 0.1
    """At most this share of the exercises is dropped as erroneous."""
    easy_weight: float = Field(default=0.5, gt=0, le=1)
    """Sampling weight of an easy exercise."""
    variants: int = Field(default=1, ge=0, le=1_000)
    """New variants per hard exercise."""
    easier: int = Field(default=0, ge=0, le=1_000)
    """New exercises one difficulty down for a hard one that variants did not help: one of them, or hard once more."""
    harder: int = Field(default=0, ge=0, le=1_000)
    """New harder exercises of its own skills for each of two easy ones, beside the one composed of both."""
    max_difficulty: Positive = 5
    """Verdicts order nothing beyond this difficulty."""

    @property
    def cap(self) -> int:
        return self.visit_cap if self.visit_cap is not None else 2 * self.visits


class EvaluateConfig(Section):
    exam: str = "embedded"
    """`embedded`, or a JSONL file with `skill`, `question`, `answer` per line."""
    questions_per_skill: Positive = 20
    """Of the built-in exam."""
    max_tokens: Positive = 96
    """Longest answer of the student, tokens."""
    answer_timeout_s: float = Field(default=1.2, gt=0, le=MOST_ANSWER_S)
    """Time that computer algebra may take to compare one answer with another; an overrun counts as different."""


class ClusterConfig(Section):
    address: str | None = None
    """Ray address; none starts a local cluster, `auto` joins the running one."""
    cpus: float | None = Field(default=None, gt=0)
    """CPUs to use; none takes what the cluster has."""
    replica_gpus: float = Field(default=0.0, ge=0)
    """GPUs of a teacher replica (a fraction shares the card)."""
    rank_gpus: float = Field(default=0.0, ge=0)
    """GPUs of a training rank."""
    student_gpus: float = Field(default=0.0, ge=0)
    """GPUs of the student replica that sits the exam."""
    placement_timeout_s: float = Field(default=120.0, gt=0)
    """In a cluster that is joined: how long its autoscaler may take to bring what the run needs to begin."""
    groups: dict[Group, ResourceName] = Field(default_factory=dict)
    """Custom Ray resource that the nodes of a process have to offer, e.g. {rank: trainer, teacher: generator}: keeps
    ranks off spot nodes. `core` is what keeps the run together: curator, recorder, the trainer's controller, and what
    reads and examines the teachers' texts (a quarter of a CPU per replica)."""


class WatchConfig(Section):
    engine_start_s: float = Field(default=300.0, gt=0)
    """Deadline for an engine to be ready."""
    stall_s: float = Field(default=180.0, gt=0)
    """No progress in a phase for this long stops the run and names what is stuck."""
    hang_s: float = Field(default=60.0, gt=0)
    """An engine with requests in flight that answers nothing for this long is ended and replaced."""
    silent_s: float = Field(default=8.0, gt=0)
    """A teacher replica whose process (not its engine) answers nothing for this long is ended and replaced."""
