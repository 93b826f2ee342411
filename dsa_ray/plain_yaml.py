"""YAML that people write: whatever is wrong with a value, the error is the library's own and names its place."""

from __future__ import annotations

from typing import Any

import yaml


class NamedFaults:
    """For a loader: a value that is none of its kind (`2024-13-01` is no date) is a `yaml.YAMLError` with its line.

    The loader also keeps constructors of its own. PyYAML's are one table for the whole process, and vLLM imports a
    library (lm-format-enforcer) that changes it: dates would be text from then on, and only then.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.add_constructor(  # type: ignore[attr-defined]
            "tag:yaml.org,2002:timestamp", yaml.constructor.SafeConstructor.construct_yaml_timestamp
        )

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)  # type: ignore[misc]
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            kind = str(node.tag).rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                problem=f"{kind} {node.value!r:.40}: {error}; quote what is meant as text", problem_mark=node.start_mark
            ) from None


class _Loader(NamedFaults, yaml.SafeLoader):
    pass


def load(text: str) -> Any:
    """The plain value of a document. Raises `yaml.YAMLError`, and nothing else."""
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.YAMLError("nested too deep") from None


def fault(error: yaml.YAMLError) -> str:
    """What is wrong, in one line: `line 3: ...`, without the line where the error has none."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    return f"line {mark.line + 1}: {problem}" if mark else problem
