"""The configuration: one YAML file, typed, frozen, unknown keys refused; dotted overrides on the command line.

Each value has one owner; what follows from others is a property. `load` raises `ConfigError`, whose text is one
line: the key, what is wrong, what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from dsa_ray import plain_yaml
from dsa_ray.credentials import keys_with_secrets
from dsa_ray.sections import (
    BudgetConfig,
    ChecksConfig,
    CurriculumConfig,
    FrontierConfig,
    LaddersConfig,
    Positive,
    Section,
    SeedConfig,
    Share,
)

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


class ConfigError(Exception):
    """A broken configuration: one clear line, exit code 2."""


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


class Config(Section):
    run: RunConfig
    graph: GraphConfig
    teacher: TeacherConfig = TeacherConfig()
    teachers: tuple[PoolTeacher, ...] = ()
    """Several teachers, weighted, in place of `teacher` and `generate.replicas`."""
    student: StudentConfig = StudentConfig()
    generate: GenerateConfig = GenerateConfig()
    train: TrainConfig = TrainConfig()
    dynamics: DynamicsConfig = DynamicsConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    frontier: FrontierConfig = FrontierConfig()
    yoda: LaddersConfig = LaddersConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    cluster: ClusterConfig = ClusterConfig()
    watch: WatchConfig = WatchConfig()

    @property
    def pool(self) -> tuple[PoolTeacher, ...]:
        """The teachers: those of `teachers`, or `teacher` alone."""
        return self.teachers or (PoolTeacher(**self.teacher.model_dump(), replicas=self.generate.replicas),)

    @property
    def prices(self) -> tuple[tuple[float, float], ...]:
        """Of each teacher of the pool: price of a million prompt tokens, and of a million answer tokens."""
        budget = self.generate.budget
        return tuple(
            (
                budget.input_price if one.input_price is None else one.input_price,
                budget.output_price if one.output_price is None else one.output_price,
            )
            for one in self.pool
        )

    @model_validator(mode="after")
    def _cross_checks(self) -> Self:
        _check_secrets(self)
        _check_graph(self.graph)
        _check_teacher(self)
        _check_train(self)
        _check_dynamics(self)
        _check_curriculum(self)
        return self


def _check_secrets(config: Config) -> None:
    """The configuration is written into config.json, the report and the dashboard. No message repeats the value."""
    for name, one in _teachers(config):
        if not re.fullmatch("[A-Z_][A-Z0-9_]*", one.api_key_env):
            raise ValueError(
                f"{name}.api_key_env: takes the name of an environment variable, in capitals, never the key itself; "
                "put the key into a variable, and its name here"
            )
    for key in keys_with_secrets(config.model_dump()):
        raise ValueError(
            f"{key}: this address holds a password or key, which config.json would show; "
            "give it by the environment, as teacher.api_key_env says or as the storage's own library reads it"
        )


def _teachers(config: Config) -> list[tuple[str, TeacherConfig]]:
    return [("teacher", config.teacher), *((f"teachers.{n}", one) for n, one in enumerate(config.teachers))]


def _check_graph(graph: GraphConfig) -> None:
    if graph.grow and graph.file is None:
        raise ValueError("graph.grow: there is no graph to grow from; set graph.file, or leave graph.grow out")
    if graph.kind == "taxonomy":
        for key in ("file", "syllabus", "embedding"):
            if getattr(graph, key) is not None:
                raise ValueError(f"graph.{key}: belongs to graph.kind=skill; leave it out, or leave out graph.kind")
    elif graph.taxonomy is not None or graph.until != "sessions":
        key = "until" if graph.taxonomy is None else "taxonomy"
        raise ValueError(f"graph.{key}: belongs to graph.kind=taxonomy; set that, or leave it out")
    if graph.file is not None and graph.syllabus is not None:
        raise ValueError("graph.syllabus: the graph is in graph.file already; put the topics there, or leave one out")


def _check_teacher(config: Config) -> None:
    for name, one in _teachers(config):
        if one.kind == "openai" and not one.base_url:
            raise ValueError(f"{name}.base_url: an openai teacher needs its endpoint; set {name}.base_url=http://...")
        if one.kind == "python" and not one.factory:
            raise ValueError(f"{name}.factory: a python teacher needs it; set {name}.factory=package.module:callable")
        if one.kind != "vllm":
            _check_vllm_only(name, one)
    checks = config.generate.checks
    for role, needed in (("questions", True), ("answers", checks.votes), ("critiques", checks.judge)):
        if needed and not any(role in one.writes for one in config.pool):
            raise ValueError(f"teachers: none of them writes {role}; name it under `writes` of one of them")
    if config.generate.budget.money is not None and not any(map(any, config.prices)):
        raise ValueError(
            "generate.budget.money: without a price it would never bind; set generate.budget.input_price and "
            "generate.budget.output_price, per million tokens, or the input_price and output_price of a teacher"
        )
    least = config.generate.min_replicas
    if least is not None and least > min(one.replicas for one in config.pool):
        raise ValueError(f"generate.min_replicas: {least} is more than the replicas of a teacher; lower it")
    if config.generate.in_flight > config.generate.slots:
        raise ValueError(
            f"generate.slots: {config.generate.slots} is less than generate.in_flight {config.generate.in_flight}, "
            "so a replica could never be full; raise slots or lower in_flight"
        )
    shortest = min(one.max_model_len for one in config.pool if "questions" in one.writes)
    if config.generate.max_textbook_tokens >= shortest:
        raise ValueError(
            f"generate.max_textbook_tokens: {config.generate.max_textbook_tokens} leaves no room for a prompt in "
            f"teacher.max_model_len {shortest}; lower the one or raise the other"
        )


def _check_vllm_only(name: str, teacher: TeacherConfig) -> None:
    for key in ("adapter", "quantization", "chat_template", "prefix_caching"):
        if getattr(teacher, key) != TeacherConfig.model_fields[key].default:
            raise ValueError(f"{name}.{key}: has no effect with {name}.kind={teacher.kind}; leave it out")


_OWNED_DEEPSPEED_KEYS = {
    "train_batch_size": "train.rows_per_step and train.ranks",
    "train_micro_batch_size_per_gpu": "train.rows_per_step",
    "gradient_accumulation_steps": "train.rows_per_step",
    "gradient_clipping": "train.grad_clip",
    "optimizer": "train.optimizer",
    "scheduler": "train.learning_rate, train.warmup and train.final_lr_share",
    "bf16": "train.precision",
    "bfloat16": "train.precision",
    "fp16": "train.precision",
    "amp": "train.precision",
    "torch_autocast": "train.precision",
    "data_types.grad_accum_dtype": "train.precision",
    "activation_checkpointing": "train.activation_checkpointing",
    "zero_optimization.stage": "train.zero_stage",
    "checkpoint.load_universal": "the checkpoint and train.ranks",
}


def _check_train(config: Config) -> None:
    train = config.train
    if train.slots < 2 * train.rows_per_step:
        raise ValueError(
            f"train.slots: {train.slots} rows cannot feed steps of {train.rows_per_step} rows per rank; "
            f"use at least {2 * train.rows_per_step} (twice train.rows_per_step); 16 steps' worth feeds without idling"
        )
    if config.generate.max_question_tokens > train.row_tokens:
        raise ValueError(
            f"generate.max_question_tokens: {config.generate.max_question_tokens} is more than train.row_tokens "
            f"{train.row_tokens}, so an exercise might fit no row; lower it or raise train.row_tokens"
        )
    _check_live_ladders(config)
    if train.lora_rank and train.zero_stage == 3:
        raise ValueError("train.lora_rank: LoRA with train.zero_stage=3 is not supported; use train.zero_stage=2")
    if train.non_finite == "skip" and train.zero_stage == 3:
        raise ValueError(
            "train.non_finite: a rank that runs a row again would wait for the others with train.zero_stage=3; use "
            "train.zero_stage=2 or train.non_finite=stop"
        )
    if train.lora_targets and not train.lora_rank:
        raise ValueError("train.lora_targets: modules are named but train.lora_rank is 0; set train.lora_rank=8")
    if train.quantize != "none" and not train.lora_rank:
        raise ValueError(
            f"train.quantize: {train.quantize} weights are frozen, so an adapter must learn; set train.lora_rank=8"
        )
    if train.textbook_replay and not train.textbook_passes:
        raise ValueError(
            "train.textbook_replay: there is nothing to read again with train.textbook_passes=0; set it to 1"
        )
    _check_elastic(config)
    _check_gpu_only(config)
    _check_deepspeed(train)
    _check_offload(train)
    if train.precision == "fp16" and config.cluster.rank_gpus == 0:
        raise ValueError("train.precision: fp16 needs a GPU (DeepSpeed refuses it on CPU); use bf16 or fp32")


def _check_live_ladders(config: Config) -> None:
    if not config.yoda.live:
        return
    if not config.train.publish_every:
        raise ValueError("yoda.live: the student climbs on published weights; set train.publish_every=50")
    if config.generate.min_replicas is not None:
        raise ValueError("yoda.live: a ladder needs a teacher at any time; leave generate.min_replicas out")


def _check_elastic(config: Config) -> None:
    least, groups = config.train.min_ranks, config.cluster.groups
    if least is None:
        return
    if least > config.train.ranks:
        raise ValueError(f"train.min_ranks: {least} is more than train.ranks {config.train.ranks}; lower it")
    if len(groups) < len(GROUPS) or list(groups.values()).count(groups["rank"]) > 1:
        raise ValueError(
            "train.min_ranks: Ray Train counts whole nodes as room for ranks, so they need nodes of their own; name "
            f"the resources of all groups in cluster.groups ({', '.join(GROUPS)}), that of rank there alone"
        )


def _check_gpu_only(config: Config) -> None:
    if config.cluster.rank_gpus > 0:
        return
    if config.train.quantize != "none":
        raise ValueError(
            f"train.quantize: {config.train.quantize} needs a GPU; set cluster.rank_gpus=1 or train.quantize=none"
        )
    if config.train.compile:
        raise ValueError("train.compile: pays on GPUs only; set cluster.rank_gpus=1 or train.compile=false")


def _check_deepspeed(train: TrainConfig) -> None:
    for path, owner in _OWNED_DEEPSPEED_KEYS.items():
        section, _, key = path.rpartition(".")
        values = train.deepspeed.get(section, {}) if section else train.deepspeed
        if not isinstance(values, Mapping):
            raise ValueError(
                f"train.deepspeed.{section}: {values!r} is no section; write its keys, e.g. {{{key}: ...}}"
            )
        if key in values:
            raise ValueError(f"train.deepspeed.{path}: this value belongs to {owner}; set it there")


def _check_offload(train: TrainConfig) -> None:
    zero = train.deepspeed.get("zero_optimization", {})
    for ours, theirs, stage in (
        ("offload_optimizer", "offload_optimizer", 1),
        ("offload_parameters", "offload_param", 3),
    ):
        wanted = getattr(train, ours)
        if wanted and train.zero_stage < stage:
            raise ValueError(
                f"train.{ours}: ZeRO {train.zero_stage} cannot do it; use train.zero_stage={max(stage, 2)}"
            )
        if wanted and theirs in zero:
            raise ValueError(
                f"train.deepspeed.zero_optimization.{theirs}: train.{ours} is set too; leave one of the two out"
            )


def _check_dynamics(config: Config) -> None:
    if config.dynamics.cap < config.dynamics.visits:
        raise ValueError(
            f"dynamics.visit_cap: {config.dynamics.cap} is less than dynamics.visits {config.dynamics.visits}, "
            "so no exercise would ever get a verdict; raise visit_cap"
        )
    shares = config.dynamics.quantiles
    if shares.erroneous > shares.hard:
        raise ValueError(
            f"dynamics.quantiles.erroneous: {shares.erroneous} is more than dynamics.quantiles.hard {shares.hard}, "
            "which it is a part of; lower the one or raise the other"
        )
    if shares.hard + shares.easy > 1:
        raise ValueError(
            f"dynamics.quantiles.hard: {shares.hard} and dynamics.quantiles.easy {shares.easy} are more than 1 "
            "together; lower one of them"
        )


def _check_curriculum(config: Config) -> None:
    curriculum, steps = config.curriculum, config.train.steps
    if curriculum.sampler == "dynamics":
        default = CurriculumConfig()
        for key in type(curriculum).model_fields:
            if getattr(curriculum, key) != getattr(default, key):
                raise ValueError(
                    f"curriculum.{key}: has no effect with curriculum.sampler=dynamics; set that, e.g. to skill_it"
                )
    if curriculum.targets and curriculum.setting == "pretraining":
        raise ValueError("curriculum.targets: belongs to curriculum.setting=finetuning or out_of_domain; set that")
    if curriculum.setting != "pretraining" and not curriculum.targets:
        raise ValueError(f"curriculum.setting: {curriculum.setting} needs skills; name them in curriculum.targets")
    if curriculum.sampler != "dynamics" and curriculum.rounds * curriculum.evaluations > steps:
        raise ValueError(
            f"curriculum.rounds: {curriculum.rounds} rounds of {curriculum.evaluations} evaluations do not fit into "
            f"train.steps {steps}; lower curriculum.rounds or raise train.steps"
        )


def load(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file, apply `section.key=value` overrides (values are YAML) and validate.

    Raises:
        ConfigError: one line that names the key and the remedy.
    """
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is no text; give the path of a YAML file") from None
    try:
        data = plain_yaml.load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML ({plain_yaml.fault(error)})") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must hold sections such as 'run:' and 'graph:', not {type(data).__name__}")
    for override in overrides:
        _apply_override(data, override)
    return parse(data)


def with_overrides(config: Config, overrides: Iterable[str]) -> Config:
    """A configuration with `section.key=value` overrides; raises `ConfigError` as `load` does."""
    data = config.model_dump(mode="json")
    for override in overrides:
        _apply_override(data, override)
    return parse(data)


def parse(data: Mapping[str, Any]) -> Config:
    """Validate plain values; raises `ConfigError` with one line."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from None


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    path = key.strip().split(".")
    if not sign or not all(path):
        raise ConfigError(f"override {override!r}: write it as section.key=value")
    node = data
    for part in path[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(f"override {override!r}: {part!r} is a value, not a section")
    try:
        node[path[-1]] = plain_yaml.load(value)
    except yaml.YAMLError:
        raise ConfigError(f"override {override!r}: the value is not valid YAML; quote it") from None


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "value_error":
        return f"{first['msg'].removeprefix('Value error, ')}{more}"
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; {_nearest(first['loc'])}{more}"
    if first["type"] == "missing":
        return f"{key}: missing; every run needs it{more}"
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r}{more}"


def _nearest(loc: tuple[int | str, ...]) -> str:
    """The known keys beside an unknown one, the most similar first."""
    from difflib import get_close_matches

    model: type[BaseModel] = Config
    for part in loc[:-1]:
        if isinstance(part, str):
            model = _section(model.model_fields[part].annotation)
    known = sorted(model.model_fields)
    close = get_close_matches(str(loc[-1]), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"


def _section(annotation: Any) -> type[BaseModel]:
    """The section that a field holds, alone or in a tuple."""
    return next((part for part in get_args(annotation) if isinstance(part, type)), annotation)
