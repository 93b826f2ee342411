"""What generation depends on beyond the configuration's values: the prompts and files that it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from dsa_ray.config import Config, ConfigError
from dsa_ray.generation.prompts import PromptError, version
from dsa_ray.records import Kind
from dsa_ray.storage.filesystem import Folder
from dsa_ray.storage.run_folder import RunFolder

FILE = "fingerprint.json"


def fingerprint(config: Config) -> dict[str, str]:
    """A hash for every prompt template, evaluation set and file of seeds.

    Raises:
        ConfigError: one of them cannot be read.
    """
    generate = config.generate
    try:
        found = {
            f"generate.prompts {kind}.j2": version(kind, generate.prompts)
            for kind in (*(kind.value for kind in Kind if kind is not Kind.GIVEN), "student", "refine")
        }
    except PromptError as error:
        raise ConfigError(f"generate.prompts: {error}") from None
    for key, paths in (
        ("generate.decontaminate", generate.decontaminate),
        ("generate.seeds", [seed.path for seed in generate.seeds]),
    ):
        found |= {f"{key} {path}": _file_hash(key, path) for path in paths}
    return found


def check_fingerprint(config: Config, run: RunFolder) -> None:
    """Note the fingerprint of a new run; on a resumed one, compare.

    Raises:
        ConfigError: one line that names the first part that has changed since the run began.
    """
    now = fingerprint(config)
    if not run.exists(FILE):
        run.write_text(FILE, json.dumps(now, indent=1))
        return
    before: Mapping[str, str] = json.loads(run.read_text(FILE))
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise ConfigError(
                f"{name}: is not what it was when the run began; put it back, or start a new run with another run.name"
            )


def _file_hash(key: str, path: str) -> str:
    folder, _, name = path.rpartition("/")
    try:
        return hashlib.blake2b(Folder(folder or ".").read(name), digest_size=8).hexdigest()
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read ({error})") from None
