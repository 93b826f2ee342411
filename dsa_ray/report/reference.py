"""References that are made from what they describe: the configuration from its types, the metrics from their table."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dsa_ray.config import Config
from dsa_ray.report.metrics import METRICS, RUN


def config_reference() -> str:
    """Every key of a configuration as Markdown: type, default, bounds, and the sentence beside it in the source."""
    lines = [
        "# Configuration reference",
        "",
        "One YAML file with these sections; `section.key=value` on the command line overrides. No other key is taken.",
    ]
    for path, model in _sections("", Config):
        if model is Config:
            continue
        lines += ["", f"## {path}", ""]
        if model.__doc__ and model.__doc__ != BaseModel.__doc__:
            lines += [_one_line(model.__doc__.splitlines()[0]), ""]
        lines += ["| key | type | default | |", "|---|---|---|---|"]
        lines += [_row(name, field) for name, field in model.model_fields.items() if _model(field.annotation) is None]
    return "\n".join(lines) + "\n"


def metrics_reference() -> str:
    """Every metric as Markdown: its name in Prometheus, its labels with their values, what it is."""
    lines = [
        "# Metrics reference",
        "",
        f"Gauges, in Prometheus under these names, each with the label `{RUN}`: the run's name. Ray adds `WorkerId`,",
        "`NodeAddress`, `SessionName` and `Version`. Counts are gauges too: a trainer that goes back to a checkpoint",
        "takes steps and verdicts back. Engines on GPUs publish vLLM's own beside them, as `ray_vllm_...`, where",
        "Ray Serve's packages are installed, which vLLM's logger imports.",
        "",
        "| metric | labels | |",
        "|---|---|---|",
    ]
    for metric in METRICS:
        labels = "; ".join(f"`{label}` ({values})" for label, values in metric.labels.items())
        lines.append(f"| `{metric.exported}` | {_cell(labels)} | {_cell(metric.help)} |")
    return "\n".join(lines) + "\n"


def _sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section with its dotted path, each before those inside it."""
    yield path, model
    for name, field in model.model_fields.items():
        inner = _model(field.annotation)
        if inner is not None:
            listed = get_origin(field.annotation) is tuple
            yield from _sections(f"{path}.{name}".lstrip(".") + ("[]" if listed else ""), inner)


def _model(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, alone or in a tuple."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _row(name: str, field: FieldInfo) -> str:
    cells = (_type(field), _default(field), _one_line(field.description or ""))
    return f"| `{name}` | {' | '.join(_cell(cell) for cell in cells)} |"


def _type(field: FieldInfo) -> str:
    bounds = _bounds(field.metadata)
    return _spelled(field.annotation) + (f", {bounds}" if bounds else "")


def _spelled(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(_spelled(part) for part in parts if part is not type(None))
    if origin is tuple:
        return f"list of {_spelled(parts[0])}"
    if origin is dict:
        return f"mapping of {_spelled(parts[0])} to {_spelled(parts[1])}"
    if hasattr(annotation, "__metadata__"):  # Annotated
        bounds = _bounds([bound for given in annotation.__metadata__ for bound in getattr(given, "metadata", [given])])
        return _spelled(parts[0]) + (f", {bounds}" if bounds else "")
    return {str: "text", int: "whole number", float: "number", bool: "yes or no"}.get(annotation, "any")


def _bounds(metadata: list[Any]) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = []
    for bound in metadata:
        for attribute, word in words.items():
            value = getattr(bound, attribute, None)
            if value is not None:
                found.append(f"{word} {value}")
        if isinstance(bound, annotated_types.MinLen):
            found.append(f"at least {bound.min_length} long")
        if isinstance(bound, annotated_types.MaxLen):
            found.append(f"at most {bound.max_length} long")
    return ", ".join(found)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be given" if field.default_factory is None else "empty"
    if field.default is None:
        return "none"
    if field.default in ((), ""):
        return "empty"
    if isinstance(field.default, bool):
        return "yes" if field.default else "no"
    if isinstance(field.default, tuple):
        return f"`[{', '.join(map(str, field.default))}]`"
    return f"`{field.default}`"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
