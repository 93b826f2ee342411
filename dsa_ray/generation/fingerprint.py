"""What generation depends on beyond the configuration's values: the prompts, files and checks that it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from dsa_ray.config import Config, ConfigError
from dsa_ray.generation.own_templates import referenced
from dsa_ray.generation.prompts import PromptError, version
from dsa_ray.records import Kind
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.run_folder import RunFolder

FILE = "fingerprint.json"


def fingerprint(config: Config) -> dict[str, str]:
    """A hash for every prompt template and what it includes, every evaluation set, file of seeds, and module of checks.

    Raises:
        ConfigError: one of them cannot be read.
    """
    generate = config.generate
    try:
        found = {f"generate.prompts {name}": version(name, generate.prompts) for name in _templates(generate.prompts)}
    except PromptError as error:
        raise ConfigError(f"generate.prompts: {error}") from None
    found |= {f"generate.checks.user {path}": _module_hash(path) for path in generate.checks.user}
    for key, paths in (
        ("generate.decontaminate", generate.decontaminate),
        ("generate.seeds", [seed.path for seed in generate.seeds]),
    ):
        found |= {f"{key} {path}": _file_hash(key, path) for path in paths}
    return found


def check_fingerprint(config: Config, run: RunFolder, *, allow: bool = False) -> None:
    """Note the fingerprint of a new run; on a resumed one, compare what was noted then, and note what was not.

    Args:
        allow: the user takes the consequences of any change: the new fingerprint is noted.

    Raises:
        ConfigError: one line that names the first part that has changed since the run began.
    """
    now = fingerprint(config)
    before: Mapping[str, str] = json.loads(run.read_text(FILE)) if run.exists(FILE) and not allow else {}
    for name in sorted(before):
        if before[name] != now.get(name):
            raise ConfigError(
                f"{name}: is not what it was when the run began; put it back, start a new run with another run.name, "
                "or go on all the same with --allow-changes"
            )
    if before != now:
        run.write_text(FILE, json.dumps(now, indent=1))


def _templates(folder: str | None) -> list[str]:
    """File names of all templates that texts are made with, those that others include among them."""
    names = [f"{kind.value}.j2" for kind in Kind if kind is not Kind.GIVEN]
    names += ["class_exercise.j2", "student.j2", "refine.j2"]
    return list(dict.fromkeys([*names, *(other for name in names for other in referenced(name, folder))]))


def _module_hash(path: str) -> str:
    """Of the file that a check of the user's own is written in. What that imports is not looked at."""
    module = path.partition(":")[0]
    try:
        found = find_spec(module)
        source = Path(str(found.origin)).read_bytes() if found is not None and found.has_location else b""
    except (ImportError, ValueError, OSError) as error:
        raise ConfigError(f"generate.checks.user: {path!r} cannot be read ({error})") from None
    if found is None:
        raise ConfigError(f"generate.checks.user: {path!r}: there is no module {module}; is it on PYTHONPATH?")
    return hashlib.blake2b(source, digest_size=8).hexdigest()


def _file_hash(key: str, path: str) -> str:
    folder, _, name = path.rpartition("/")
    try:
        return hashlib.blake2b(Folder(folder or ".").read(name), digest_size=8).hexdigest()
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read ({error})") from None
