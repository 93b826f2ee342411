"""What can be known to be wrong before anything starts: missing models, engines, files. One line each, exit code 2.

`config.load` checks the values against each other; this checks them against the machine. Nothing here imports a heavy
library or goes to the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from dsa_ray.config import Config, ConfigError
from dsa_ray.sections import TeacherConfig
from dsa_ray.served_files import adapter_rank, chat_template

EMBEDDED = ("embedded:teacher", "embedded:student")
JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray's job manager sets it (the name is the variable) in the process that it starts."""


def check(config: Config) -> None:
    """All checks in turn, the cheapest first.

    Raises:
        ConfigError: one line that names the key and the remedy.
    """
    check_storage(config)
    check_groups(config)
    check_models(config)
    check_engines(config)


def check_groups(config: Config, environment: Mapping[str, str] = os.environ) -> None:
    """A Ray that the run starts itself has no nodes of several kinds.

    Raises:
        ConfigError: groups are named, and no cluster is joined.
    """
    if config.cluster.groups and not joins_cluster(config, environment):
        raise ConfigError(
            "cluster.groups: the Ray that this run would start on this machine has no such resources; "
            "set cluster.address=auto to join a cluster, or leave the groups out"
        )


def check_models(config: Config) -> None:
    """Folders and files that the configuration names have to be there. Hub names are looked up only when offline.

    Raises:
        ConfigError: names the key.
    """
    for number, teacher in enumerate(config.pool):
        if teacher.kind == "vllm":
            _check_served(f"teachers.{number}" if config.teachers else "teacher", teacher)
    _check_model("student.model", config.student.model)
    exam = config.evaluate.exam
    if exam != "embedded" and not Path(exam).expanduser().is_file():
        raise ConfigError(f"evaluate.exam: there is no file {exam}; give a JSONL file, or `embedded`")
    for path in config.generate.decontaminate:
        if "://" not in path and not Path(path).is_file():
            raise ConfigError(f"generate.decontaminate: there is no file {path}; give JSONL files with a `question`")


def check_engines(config: Config, find: Callable[[str], object] = find_spec) -> None:
    """The libraries that the run will import have to be installed. `find` tells whether a module is.

    Raises:
        ConfigError: names the library and how to get it.
    """
    if find("vllm") is None:
        # The exam is sat by the student's own vLLM replica, whoever the teacher is.
        key = "teacher.kind=vllm" if any(one.kind == "vllm" for one in config.pool) else "the student's exam"
        raise ConfigError(f"vllm: not installed, and {key} needs it; run `make setup` (DEVICE=gpu on a GPU machine)")
    for module in ("ray", "deepspeed", "transformers", "peft"):
        if find(module) is None:
            raise ConfigError(f"{module}: not installed, and training needs it; run `make setup`")
    check_factories(config, find)


def check_factories(config: Config, find: Callable[[str], object] = find_spec) -> None:
    """The modules that make a `python` teacher have to be there; they are not imported.

    Raises:
        ConfigError: names the teacher's key.
    """
    for number, teacher in enumerate(config.pool):
        if teacher.kind == "python":
            key = f"teachers.{number}.factory" if config.teachers else "teacher.factory"
            _check_factory(key, teacher.factory or "", find)


def check_storage(config: Config, environment: Mapping[str, str] = os.environ) -> None:
    """Inside a submitted job the working directory is a temporary copy, so a run must not be written there.

    Raises:
        ConfigError: `run.storage` is relative and this is a job, or it is a file.
    """
    storage = config.run.storage
    if "://" in storage:
        return
    if JOB_VARIABLE in environment and not Path(storage).is_absolute():
        raise ConfigError(
            f"run.storage: {storage!r} is relative, and a submitted job runs in a temporary copy of the working "
            "directory; give an absolute path that all nodes share, or a URI such as s3://bucket/runs"
        )
    if Path(storage).exists() and not Path(storage).is_dir():
        raise ConfigError(f"run.storage: {storage} is a file; give a folder")


def joins_cluster(config: Config, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the run joins a cluster that is there, rather than start one on this machine."""
    return config.cluster.address is not None or bool(environment.get("RAY_ADDRESS"))


def looks_like_path(model: str) -> bool:
    """Whether a model name is meant as a folder: hub names are `name` or `owner/name`, without a leading dot."""
    return model.startswith(("/", ".", "~")) or model.count("/") > 1 or "\\" in model or Path(model).is_dir()


def _check_served(name: str, teacher: TeacherConfig) -> None:
    _check_model(f"{name}.model", teacher.model)
    for key, path, look in (
        ("adapter", teacher.adapter, adapter_rank),
        ("chat_template", teacher.chat_template, chat_template),
    ):
        if path is not None:
            try:
                look(path)
            except ValueError as error:
                raise ConfigError(f"{name}.{key}: {error}") from None


def _check_model(key: str, model: str) -> None:
    if model.startswith("embedded:"):
        if model not in EMBEDDED:
            raise ConfigError(f"{key}: {model!r} is not embedded; known are {' and '.join(EMBEDDED)}")
        return
    if looks_like_path(model):
        folder = Path(model).expanduser()
        if not folder.is_dir():
            raise ConfigError(f"{key}: there is no folder {model}; give a model folder or a Hugging Face name")
        if not (folder / "config.json").is_file():
            raise ConfigError(f"{key}: {model} holds no config.json, so it is no Hugging Face model")
        return
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        raise ConfigError(f"{key}: {model!r} is neither a folder nor a Hugging Face name (owner/name)")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on") and not _in_cache(model):
        raise ConfigError(
            f"{key}: {model} is not in the Hugging Face cache and HF_HUB_OFFLINE is set; "
            "download it first, or give a folder"
        )


def _in_cache(model: str) -> bool:
    home = Path(os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser())
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return any((hub / f"models--{model.replace('/', '--')}" / "snapshots").glob("*/config.json"))


def _check_factory(key: str, factory: str, find: Callable[[str], object]) -> None:
    module, sign, name = factory.partition(":")
    if not (sign and module and name.isidentifier()):
        raise ConfigError(f"{key}: {factory!r}; write it as package.module:callable")
    try:
        found = find(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise ConfigError(f"{key}: there is no module {module}; is it on PYTHONPATH?")
