"""The card of an exported dataset: what is in it, who wrote it, what was checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from dsa_ray.config import Config

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card(config: Config, counts: Mapping[str, int], generators: Mapping[str, int], format: str) -> str:
    """Markdown with the front matter that dataset hubs read.

    Args:
        counts: rows by file name.
        generators: items by generator and prompt version.
        format: of the files.
    """
    total = sum(counts.values())
    front: dict[str, Any] = {
        "pretty_name": f"{_line(config.graph.target)} (DSA)",
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "skill-graph", "dsa"],
        "size_categories": [next((name for bound, name in _SIZES if total < bound), "1M<n<10M")],
        "configs": [{"config_name": name.partition(".")[0], "data_files": name} for name in counts],
    }
    checks = config.generate.checks.model_dump(mode="json")
    on = [f"{name}={value}" if not isinstance(value, bool) else name for name, value in checks.items() if value]
    lines = [
        f"# {_line(config.graph.target)}",
        "",
        f"Textbooks and exercises that teach *{_line(config.graph.target)}*, written along a skill graph by language "
        f"models (run `{config.run.name}`, seed {config.run.seed}). The format is `{format}`.",
        "",
        "| file | rows |",
        "|---|---|",
        *(f"| `{name}` | {count} |" for name, count in counts.items()),
        "",
        "## Written by",
        "",
        *(f"- `{_line(name)}`: {count} items" for name, count in sorted(generators.items())),
        "",
        "## Checks",
        "",
        f"On: {', '.join(f'`{_line(name)}`' for name in on)}.",
        "",
        "Questions of these evaluation sets were kept out: "
        + (", ".join(f"`{_line(path)}`" for path in config.generate.decontaminate) or "none was named")
        + ".",
        "",
        "Answers were written by models: most are right, some are not. Check the terms of the models named above "
        "before you publish or train on this data.",
    ]
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n" + "\n".join(lines) + "\n"


def _line(text: str) -> str:
    """One line without the marks that would change the page."""
    return " ".join(text.replace("`", "'").replace("|", "/").replace("<", "&lt;").split())
