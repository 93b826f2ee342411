"""About how much memory a run takes, from the models' sizes: for `--dry-run`, before anything is downloaded.

The estimate is arithmetic, not measurement: weights, KV cache, gradients and optimizer state by ZeRO stage
(Rajbhandari et al., 2020), activations of one packed row (Korthikanti et al., 2022, about 34 bytes per token, layer and
hidden unit in 16 bits without recomputation), and what a Python process with its libraries takes (about 0.6 GiB with
torch, 1.3 GiB with a vLLM engine).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsa_ray.config import Config
from dsa_ray.sections import TrainConfig

PROCESS_GIB = 0.6
ENGINE_GIB = 1.3
RAY_GIB = 1.5
"""Daemons and dashboard of one node, without the object store, which takes only what is put in it."""
NF4_BYTES = 0.55
"""Of a weight in 4 bits, with its share of the blocks' constants."""
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What decides a model's memory. `known` tells where it comes from: `config.json`, `name` or `guess`."""

    parameters: float
    layers: int
    hidden: int
    kv_width: int
    """Key (or value) heads times head size."""
    vocabulary: int
    known: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRow:
    """`count` equal processes that take `gib` each, in main memory (`CPU`) or on their GPUs (`GPU`)."""

    name: str
    where: str
    count: int
    gib: float
    parts: str


# Parameters (billions) up to which a model of that size typically has so many layers, hidden units and KV units.
_TYPICAL = ((0.01, 4, 192, 192), (0.2, 12, 768, 768), (1, 28, 1024, 1024), (2, 28, 2048, 1024), (5, 36, 2560, 1024))
_TYPICAL += ((10, 36, 4096, 1024), (20, 40, 5120, 1024), (40, 64, 5120, 1024), (100, 80, 8192, 1024))
_TYPICAL += ((float("inf"), 126, 16384, 1024),)
_EMBEDDED = {"embedded:teacher": 0.003, "embedded:student": 0.003}
_SIZE = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])")


def model_shape(name: str) -> ModelShape:
    """From the model's `config.json` where that lies on this machine, else from the number in its name."""
    described = _local_config(name)
    if described is not None:
        shape = _from_config(described)
        if shape is not None:
            return shape
    billions = _EMBEDDED.get(name) or _billions(name)
    known = "name" if billions else "guess"
    return _typical(billions or 7.0, known)


def memory(config: Config, teachers: Sequence[ModelShape], student: ModelShape) -> list[MemoryRow]:
    """One row per kind of process; the largest rows are models, the rest is what Python itself takes.

    A teacher that is no vLLM has its weights elsewhere, or is Python code of which nothing is known here.

    Args:
        teachers: shapes of the models of `config.pool`, in its order.
    """
    rows = [
        _teacher_row(config, number, shape)
        for number, shape in enumerate(teachers)
        if config.pool[number].kind == "vllm"
    ]
    rows += [_student_row(config, student), _rank_row(config, student)]
    gpu_holders = [row for row in rows if row.where == "GPU"]
    rows += [_host_row(config, row, student) for row in gpu_holders]
    readers = config.train.ranks + sum(teacher.replicas for teacher in config.pool)
    rows.append(MemoryRow(name="streams", where="CPU", count=readers, gib=PROCESS_GIB / 2, parts="process, no torch"))
    rows.append(MemoryRow(name="curator and others", where="CPU", count=3, gib=PROCESS_GIB, parts="process"))
    rows.append(MemoryRow(name="ray", where="CPU", count=1, gib=RAY_GIB, parts="daemons, object store when empty"))
    return rows


def estimate(config: Config) -> list[MemoryRow]:
    """`memory` with the models' shapes as far as they are known here."""
    return memory(config, [model_shape(teacher.model) for teacher in config.pool], model_shape(config.student.model))


def teacher_share(number: int) -> str:
    """Name of the share of the replicas of a teacher of the pool."""
    return f"teacher-{number}" if number else "teacher"


def _teacher_row(config: Config, number: int, shape: ModelShape) -> MemoryRow:
    """On a GPU the smallest that starts: weights and the KV cache of one full request. vLLM takes what it is given."""
    teacher, on_gpu = config.pool[number], config.cluster.replica_gpus > 0
    weights = shape.parameters * (4 if teacher.dtype == "float32" else 2) / GIB
    one = teacher.max_model_len * 2 * shape.layers * shape.kv_width * 2 / GIB
    cache = one if on_gpu else teacher.kv_cache_gib
    gib = weights + cache + (0.0 if on_gpu else ENGINE_GIB)
    parts = (
        f"weights {weights:.2f} ({_source(shape)}), KV cache {cache:.2f}; "
        f"{config.generate.in_flight * one:.2f} would hold all requests in flight at full length"
    )
    where = "GPU" if on_gpu else "CPU"
    return MemoryRow(name=teacher_share(number), where=where, count=teacher.replicas, gib=gib, parts=parts)


def _host_row(config: Config, row: MemoryRow, student: ModelShape) -> MemoryRow:
    """What a process on a GPU takes in main memory; what a rank offloads lies there too."""
    gib, parts = ENGINE_GIB + 1.0, "process, buffers"
    if row.name == "rank":
        weights, _, optimizer = (size / GIB for size in _states(config.train, student))
        if config.train.offload_optimizer:
            gib, parts = gib + optimizer, f"{parts}, optimizer {optimizer:.2f}"
        if config.train.offload_parameters:
            gib, parts = gib + weights, f"{parts}, weights {weights:.2f}"
    return MemoryRow(name=f"{row.name}, host", where="CPU", count=row.count, gib=gib, parts=parts)


def _student_row(config: Config, shape: ModelShape) -> MemoryRow:
    on_gpu = config.cluster.student_gpus > 0
    weights = shape.parameters * 2 / GIB
    cache = config.teacher.kv_cache_gib
    gib = weights + cache + (0.0 if on_gpu else ENGINE_GIB)
    parts = f"weights {weights:.2f} ({_source(shape)}), KV cache {cache:.2f}"
    return MemoryRow(name="student", where="GPU" if on_gpu else "CPU", count=1, gib=gib, parts=parts)


def _rank_row(config: Config, shape: ModelShape) -> MemoryRow:
    train, on_gpu = config.train, config.cluster.rank_gpus > 0
    weights, gradients, optimizer = (size / GIB for size in _states(train, shape))
    activations = _activations(train, shape) / GIB
    if on_gpu and train.offload_optimizer:
        optimizer = 0.0
    if on_gpu and train.offload_parameters:
        weights = 0.0
    gib = weights + gradients + optimizer + activations + (0.0 if on_gpu else PROCESS_GIB)
    parts = (
        f"weights {weights:.2f} ({_source(shape)}), gradients {gradients:.2f}, optimizer {optimizer:.2f}, "
        f"activations {activations:.2f}"
    )
    return MemoryRow(name="rank", where="GPU" if on_gpu else "CPU", count=train.ranks, gib=gib, parts=parts)


def _states(train: TrainConfig, shape: ModelShape) -> tuple[float, float, float]:
    """Bytes per rank of weights, gradients and optimizer state (fp32 master weights and two moments)."""
    width = 4 if train.precision == "fp32" else 2
    trained = shape.parameters
    if train.lora_rank:
        trained = min(trained, train.lora_rank * shape.layers * shape.hidden * 20)
    moments = trained * (8 if train.precision == "fp32" else 12)
    frozen = NF4_BYTES if train.quantize == "nf4" else width
    weights, gradients = shape.parameters * frozen, trained * width
    ranks = train.ranks
    return (
        weights / (ranks if train.zero_stage >= 3 else 1),
        gradients / (ranks if train.zero_stage >= 2 else 1),
        moments / (ranks if train.zero_stage >= 1 else 1),
    )


def _activations(train: TrainConfig, shape: ModelShape) -> float:
    """Bytes for one packed row: the layers, and logits with their gradient in 32 bits."""
    width = 2 if train.precision == "fp32" else 1
    per_unit = 2 if train.activation_checkpointing else 34
    layers = train.row_tokens * shape.hidden * shape.layers * per_unit * width
    return layers + train.row_tokens * shape.vocabulary * 8


def _source(shape: ModelShape) -> str:
    number = shape.parameters / 1e9
    size = f"{number:.3g}B" if number >= 1 else f"{number * 1e3:.3g}M"
    return f"{size} parameters" + (", guessed" if shape.known == "guess" else "")


def _billions(name: str) -> float | None:
    """The number in a model's name: Qwen3-0.6B, SmolLM-135M, Mixtral-8x7B (experts share about a fifth)."""
    match = _SIZE.search(name.rsplit("/", 1)[-1])
    if match is None:
        return None
    experts, number, unit = match.groups()
    size = float(number) / (1000 if unit in "Mm" else 1)
    return size * int(experts) * 0.83 if experts else size


def _typical(billions: float, known: str) -> ModelShape:
    layers, hidden, kv_width = next(row[1:] for row in _TYPICAL if billions <= row[0])
    vocabulary = 384 if billions < 0.01 else 150_000
    return ModelShape(
        parameters=billions * 1e9, layers=layers, hidden=hidden, kv_width=kv_width, vocabulary=vocabulary, known=known
    )


def _local_config(name: str) -> Mapping[str, Any] | None:
    for folder in _folders(name):
        try:
            described = json.loads((folder / "config.json").read_text())
        except (OSError, ValueError):
            continue
        if isinstance(described, dict):
            return described
    return None


def _folders(name: str) -> list[Path]:
    """Where a model may lie: the folder itself, or the newest snapshot in the Hugging Face cache."""
    if name.startswith("embedded:"):
        return []
    home = Path(os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser())
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{name.replace('/', '--')}" / "snapshots"
    snapshots = sorted(cache.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True) if cache.is_dir() else []
    return [Path(name).expanduser(), *snapshots]


def _from_config(described: Mapping[str, Any]) -> ModelShape | None:
    """From a transformers `config.json`; None where it does not speak of a decoder in the usual words."""
    try:
        hidden, layers = int(described["hidden_size"]), int(described["num_hidden_layers"])
        heads, vocabulary = int(described["num_attention_heads"]), int(described["vocab_size"])
    except (KeyError, TypeError, ValueError):
        return None
    head = int(described.get("head_dim") or hidden // heads)
    kv_width = int(described.get("num_key_value_heads") or heads) * head
    inner = int(described.get("intermediate_size") or 4 * hidden)
    experts = int(described.get("num_local_experts") or described.get("num_experts") or 1)
    inner = int(described.get("moe_intermediate_size") or inner)
    attention = hidden * head * heads * 2 + hidden * kv_width * 2
    embeddings = vocabulary * hidden * (1 if described.get("tie_word_embeddings", True) else 2)
    parameters = layers * (attention + 3 * hidden * inner * experts) + embeddings
    return ModelShape(
        parameters=parameters,
        layers=layers,
        hidden=hidden,
        kv_width=kv_width,
        vocabulary=vocabulary,
        known="config.json",
    )
