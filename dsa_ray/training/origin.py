"""What wrote an engine's checkpoint: whether another engine may load it, and how large it will be."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dsa_ray.sections import TrainConfig
from dsa_ray.storage.checkpoints import CheckpointError
from dsa_ray.training.student import Student

FILE = "engine.json"
MOMENTS_BYTES = 12
"""AdamW, per trained parameter: fp32 weight and two fp32 moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The facts of an engine on which its checkpoints depend."""

    ranks: int
    zero_stage: int
    precision: str
    parameters: int
    trained: int
    """Parameters that get a gradient: all, or the adapter's."""


def origin_of(model: Student, config: TrainConfig, ranks: int) -> Origin:
    """Of an engine that trains `model` so."""
    sizes = [(_elements(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return Origin(
        ranks=ranks,
        zero_stage=config.zero_stage,
        precision=config.precision,
        parameters=sum(size for size, _ in sizes),
        trained=sum(size for size, trained in sizes if trained),
    )


def write_origin(folder: Path, origin: Origin) -> None:
    (folder / FILE).write_text(json.dumps(asdict(origin)))


def checked_origin(folder: Path, own: Origin) -> Origin:
    """What wrote the checkpoint in `folder`; only the number of ranks may differ from `own`.

    Raises:
        FileNotFoundError: there is no checkpoint of this program.
        CheckpointError: it belongs to another student, stage or precision.
    """
    try:
        found: dict[str, Any] = json.loads((folder / FILE).read_text())
        origin = Origin(**found)
    except FileNotFoundError:
        there = "was not written by this program" if folder.is_dir() else "holds no DeepSpeed checkpoint"
        raise FileNotFoundError(f"{folder}: {there} ({FILE} is missing)") from None
    except (ValueError, TypeError):
        raise CheckpointError(f"{folder}/{FILE}: broken") from None
    for key in ("parameters", "trained", "zero_stage", "precision"):
        there, here = getattr(origin, key), getattr(own, key)
        if there != here:
            raise CheckpointError(
                f"{folder}: belongs to another student or configuration ({key}: {there} there, {here} here)"
            )
    return origin


def saved_bytes(origin: Origin, dtype: torch.dtype) -> int:
    """About how much one rank writes: its share of the optimizer's state, and what is trained twice, for the exported
    student."""
    shares = origin.ranks if origin.zero_stage else 1
    return MOMENTS_BYTES * origin.trained // shares + 2 * origin.trained * dtype.itemsize


def _elements(parameter: torch.nn.Parameter) -> int:
    """Number of elements of the whole parameter; ZeRO 3 leaves an empty one on each rank."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))
