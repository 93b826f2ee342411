"""The import rules: every module is parsed, none is imported. Imports go downwards and engines stay in their files."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dsa_ray"
FILES = sorted(PACKAGE.rglob("*.py"))

BASE = {"records", "config", "sections", "credentials", "plain_yaml", "served_files"}
PLANNING = {"placement", "memory", "machine", "preflight", "doctor"}
"""Loose modules that stand beside the folders of the first layer."""
DRIVER = {"exits", "ring", "outcome", "watchdog", "stacks", "screen", "live", "assess", "seeding", "ladder_intake"}
"""What the pipeline and the commands are made of."""
WIRING = {"pipeline", "local", "cli", "graph_commands", "dynamics_commands", "graph_build", "graph_learn", "writing"}
WIRING |= {"laddering"}
SHELLS = {"actors", "streams", "engines"}
MAY_IMPORT = {
    "storage": set(),
    "skills": {"storage"},
    "generation": {"storage"},
    "dynamics": {"storage"},
    "training": {"storage", "generation"},
    "evaluation": {"storage", "generation"},
    "ladders": {"storage", "generation"},
    "curriculum": {"storage", "dynamics", "skills"},
    "report": {"storage", "evaluation", "skills"},
    "embedded": {"storage", "generation", "skills", "evaluation"},
}
"""Which folders a folder of the first layer may use, beside records, configuration and itself."""
RAY = {"actors", "streams", "ring", "stacks", "pipeline", "graph_build", "graph_learn", "writing", "laddering"}
"""Where Ray may be imported at all."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Every imported dotted name, wherever it stands: `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ray_parts(tree: ast.AST) -> set[str]:
    """The parts of Ray that a module uses, by import or as an attribute: `data`, `train`, `remote`."""
    parts = {name.split(".")[1] for name in imports(tree) if name.startswith("ray.")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ray":
            parts.add(node.attr)
    return parts & {"data", "train", "remote"}


def place(path: Path) -> str:
    """The folder of a module, or the module's own name where it lies at the top."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def own_imports(tree: ast.AST) -> set[str]:
    """Places of this package that a module imports."""
    return {name.split(".")[1] for name in imports(tree) if name.startswith("dsa_ray.")}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def fault(path: Path, tree: ast.AST) -> str | None:
    """What is wrong with one module's imports, or None."""
    here, roots = place(path), {name.split(".")[0] for name in imports(tree)}
    used = own_imports(tree) - {here, "__version__"}
    parts = ray_parts(tree)
    if here in BASE:
        strange = roots - set(sys.stdlib_module_names) - {"pydantic", "yaml", "jinja2", "dsa_ray"}
        return f"imports {strange}" if strange else _beyond(used, BASE)
    if "vllm" in roots and path != PACKAGE / "engines" / "vllm_engine.py":
        return "imports vllm"
    if "deepspeed" in roots and path != PACKAGE / "engines" / "deepspeed_engine.py":
        return "imports deepspeed"
    if "ray" in roots and here not in RAY:
        return "imports ray"
    if "data" in parts and here != "streams":
        return "uses ray.data"
    if parts & {"remote", "train"} and here != "actors":
        return f"uses ray.{min(parts & {'remote', 'train'})}"
    if here in MAY_IMPORT:
        return _beyond(used, BASE | MAY_IMPORT[here])
    if here in PLANNING:
        return _beyond(used, BASE | PLANNING)
    if here in SHELLS:
        return _beyond(used, BASE | set(MAY_IMPORT) | SHELLS)
    if here in DRIVER:
        return _beyond(used, BASE | PLANNING | DRIVER | set(MAY_IMPORT) | SHELLS)
    if here in WIRING:
        return _beyond(
            used,
            BASE
            | PLANNING
            | DRIVER
            | set(MAY_IMPORT)
            | SHELLS
            | (WIRING if here in {"cli", "graph_commands"} else set()),
        )
    return None if here == "__init__" else "is in no known layer"


def _beyond(used: set[str], allowed: set[str]) -> str | None:
    return f"imports {sorted(used - allowed)}" if used - allowed else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_imports_only_what_its_layer_allows(path: Path) -> None:
    assert fault(path, parse(path)) is None


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("records.py", "import numpy"),
        ("config.py", "from dsa_ray.storage import journal"),
        ("skills/graph.py", "def f():\n    import ray"),
        ("skills/graph.py", "from dsa_ray.curriculum.curator import Curator"),
        ("dynamics/history.py", "from dsa_ray.engines import base"),
        ("actors/replica.py", "from vllm import AsyncLLM"),
        ("engines/base.py", "import deepspeed"),
        ("actors/trainer.py", "import ray\nray.data.range(3)"),
        ("streams/training.py", "import ray\n@ray.remote\nclass A: ..."),
        ("pipeline.py", "from ray.train.torch import TorchTrainer"),
        ("actors/curator.py", "from dsa_ray import pipeline"),
        ("local.py", "import dsa_ray.pipeline"),
        ("local.py", "import ray"),
        ("ring.py", "from dsa_ray.pipeline import run"),
        ("engines/vllm_engine.py", "import ray"),
        ("doctor.py", "import vllm"),
        ("somewhere/else.py", "pass"),
    ],
)
def test_the_rules_catch_a_module_that_breaks_them(where: str, source: str) -> None:
    assert fault(PACKAGE / where, ast.parse(source)) is not None


def test_no_two_folders_import_each_other() -> None:
    edges = {(place(path), used) for path in FILES for used in own_imports(parse(path)) if used != place(path)}
    assert [pair for pair in edges if pair[0] < pair[1] and pair[::-1] in edges] == []


def test_nothing_but_the_command_line_and_jobs_imports_the_pipeline() -> None:
    importers = {place(path) for path in FILES if "pipeline" in own_imports(parse(path))}
    assert importers <= {"cli", "pipeline"}


def test_no_module_is_named_after_nothing() -> None:
    assert [path for path in FILES if path.stem in {"utils", "util", "common", "helpers", "misc"}] == []
