"""The configuration: one YAML file, typed, frozen, unknown keys refused; dotted overrides on the command line.

Each value has one owner; what follows from others is a property. `load` raises `ConfigError`, whose text is one
line: the key, what is wrong, what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ValidationError, model_validator

from dsa_ray import plain_yaml
from dsa_ray.credentials import keys_with_secrets
from dsa_ray.sections import (
    GROUPS,
    ClusterConfig,
    CurriculumConfig,
    DynamicsConfig,
    EvaluateConfig,
    FrontierConfig,
    GenerateConfig,
    GraphConfig,
    LaddersConfig,
    PoolTeacher,
    RunConfig,
    Section,
    StudentConfig,
    TeacherConfig,
    TrainConfig,
    WatchConfig,
)


class ConfigError(Exception):
    """A broken configuration: one clear line, exit code 2."""


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
