"""The distributed engine: DeepSpeed ZeRO 0 to 3 behind the same protocol as the plain torch one.

The only file that imports DeepSpeed. It runs without Ray: the caller sets up torch.distributed, or, with one
process, nobody.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import math
import os
import pickle
import re
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import nn
from transformers import PreTrainedTokenizerBase

from dsa_ray.config import ConfigError
from dsa_ray.sections import TrainConfig
from dsa_ray.storage.checkpoints import CheckpointError
from dsa_ray.training.finite import finite_part
from dsa_ray.training.isolation import Isolation, IsolationError, PackedModel
from dsa_ray.training.loop import RowResult, StepResult
from dsa_ray.training.loss import example_losses, row_loss, row_tensors
from dsa_ray.training.optimizer import adamw
from dsa_ray.training.origin import Origin, checked_origin, origin_of, saved_bytes, write_origin
from dsa_ray.training.randomness import random_state, set_random_state
from dsa_ray.training.student import Student, plain_weights, save_student, training_dtype

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read at DeepSpeed's import

import deepspeed
import deepspeed.ops
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime.config import DeepSpeedConfigError
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils import logger as _deepspeed_logger
from deepspeed.utils.tensor_fragment import fragment_address

# DeepSpeed logs to stdout by a handler of its own; standard output belongs to the caller.
_deepspeed_logger.handlers.clear()
_deepspeed_logger.propagate = True

# At first use DeepSpeed compiles a shared-memory all-reduce for CPU (g++, ninja, tens of seconds, under a lock file
# that hangs later runs when a build is killed). It serves inference only; training goes through gloo.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

# ZeRO 3 calls collectives by names that torch renames: one warning per call.
warnings.filterwarnings("ignore", message=r"`torch\.distributed\.\w+` is deprecated", category=FutureWarning)

_ONLY_WEIGHTS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_REFUSAL = re.compile(r"(?:Trying to load )?[Uu]nsupported (?:global|GLOBAL|operand).*")
_OWN_CLASSES: list[Any] = [ZeroStageEnum, LossScaler, DynamicLossScaler, fragment_address]
"""What DeepSpeed's shards hold beside tensors and plain values."""

_MAX_BUCKET = 500_000_000
"""DeepSpeed's default bucket, elements; a small model gets buckets of its own size."""


class DeepSpeedEngine:
    """One rank of a ZeRO training run; every method is collective.

    Args:
        model: the student, on the host, equal on all ranks.
        world: number of ranks; must be that of the process group.

    Raises:
        ConfigError: DeepSpeed refuses what `train.deepspeed` gives it.
    """

    def __init__(self, model: Student, config: TrainConfig, world: int = 1) -> None:
        _ensure_process_group(world)
        self._config, self._world, self._model = config, world, model
        for parameter in model.parameters():
            if parameter.is_floating_point():  # weights of 4 bits are packed into integers
                parameter.data = parameter.data.to(training_dtype(config))
        # Before the probe: which way of isolation is fastest depends on the device.
        model.to(get_accelerator().device_name(int(os.environ["LOCAL_RANK"])))
        self._packed = PackedModel(model).train()
        if config.compile:
            self._packed.compile_layers()
        _check_equal_forwards(self._packed, config, world)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        self._engine = _initialize(self._packed, model, config)
        _restore_buffers(model, buffers)

    def train_row(self, row: Mapping[str, np.ndarray], *, last: bool) -> RowResult:
        """One forward and backward; ZeRO 2 and 3 reduce the row's gradient here."""
        tensors = row_tensors(row, self._engine.device)
        self._engine.set_gradient_accumulation_boundary(last)
        nll = self._engine(tensors)
        if self._config.non_finite == "skip":
            tensors, nll, *shown = finite_part(self._engine, tensors, nll)
        else:
            shown = example_losses(nll, tensors)
        # The denominator is that of the whole step, but DeepSpeed averages over the ranks: undo it.
        self._engine.backward(row_loss(nll, tensors) * self._world, scale_wrt_gas=False)
        if not last:
            self._engine.step()  # only counts
        return RowResult(*shown)

    def step(self, lr: float) -> StepResult:
        """Clip and update; a step that DeepSpeed skips, for its gradient overflows, has an infinite norm."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        plain_norm = self._plain_grad_norm()
        self._engine.step()
        if not self._engine.was_step_applied():
            return StepResult(grad_norm=math.inf)  # DeepSpeed skipped it, and keeps the norm of an earlier step
        grad_norm = self._engine.get_global_grad_norm() if plain_norm is None else plain_norm
        return StepResult(grad_norm=float(grad_norm))

    def _plain_grad_norm(self) -> torch.Tensor | None:
        """The norm where DeepSpeed keeps none: fp32 without ZeRO, whose reduced gradients lie in the parameters."""
        if self._config.zero_stage or self._config.precision != "fp32":
            return None
        return torch.nn.utils.get_total_norm([p.grad for p in self._model.parameters() if p.grad is not None])

    def save(self, folder: str, tag: str) -> None:
        """Write this rank's ZeRO shards and random state under folder/tag; rank 0 names it in folder/latest.

        Frozen weights stay out: they are those of the base student.
        """
        rank = torch.distributed.get_rank()
        with _without_checksums(), _nothing_frozen(self._packed):
            self._engine.save_checkpoint(folder, tag=tag, exclude_frozen_parameters=True)
        torch.save(random_state(), Path(folder, tag, f"random-{rank}.pt"))
        if rank == 0:
            write_origin(Path(folder, tag), self._origin())

    def load(self, folder: str, tag: str | None = None) -> None:
        """Restore weights, optimizer and random state, bit for bit; on another number of ranks up to rounding.

        Raises:
            FileNotFoundError: there is no checkpoint.
            CheckpointError: it belongs to another student or ZeRO stage, or its files cannot be read.
        """
        tag = tag or _latest(folder)
        origin = checked_origin(Path(folder, tag), self._origin())
        try:
            with _nothing_but_tensors():
                if origin.ranks == self._world or _replicated(self._engine):
                    path, _ = self._engine.load_checkpoint(folder, tag=tag, custom_load_fn=_load_trained)
                else:
                    path = self._load_universal(folder, tag)
        except (RuntimeError, OSError, ValueError, KeyError, AssertionError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{folder}/{tag}: DeepSpeed cannot read it ({_fault(error)})") from error
        if path is None:
            raise CheckpointError(f"{folder}/{tag}: DeepSpeed finds no model states in it")
        random = Path(folder, tag, f"random-{torch.distributed.get_rank()}.pt")
        if random.exists():  # not for a rank that was not there when it was written
            set_random_state(torch.load(random, weights_only=True))

    @property
    def saved_bytes(self) -> int:
        """About how much `save` and `copy_student` together write on this rank."""
        return saved_bytes(self._origin(), training_dtype(self._config))

    def copy_student(self, *, merged: bool = False) -> dict[str, torch.Tensor] | None:
        """A copy of the weights on rank 0's host, in the configured precision, for `write_student`; else None.

        All ranks call it. LoRA gives its adapter, or with `merged` a full model.
        """
        parameters = list(self._model.parameters()) if self._config.zero_stage == 3 else []
        with deepspeed.zero.GatheredParameters(parameters, enabled=bool(parameters)):
            if torch.distributed.get_rank() != 0:
                return None
            return plain_weights(self._model, training_dtype(self._config), merged=merged)

    def write_student(
        self,
        weights: dict[str, torch.Tensor],
        folder: str,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        merged: bool = False,
    ) -> None:
        """Write what `copy_student` gave in Hugging Face format; training may go on meanwhile in another thread."""
        save_student(self._model, tokenizer, folder, weights, merged=merged)

    def export_hf(self, folder: str, tokenizer: PreTrainedTokenizerBase | None = None, *, merged: bool = False) -> None:
        """Rank 0 writes the student in Hugging Face format, in the configured precision; all ranks call it.

        LoRA writes its adapter, or with `merged` a full model.
        """
        weights = self.copy_student(merged=merged)
        if weights is not None:
            self.write_student(weights, folder, tokenizer, merged=merged)
        torch.distributed.barrier()

    def _origin(self) -> Origin:
        return origin_of(self._model, self._config, self._world)

    def _load_universal(self, folder: str, tag: str) -> str | None:
        """Load a checkpoint of another number of ranks: one rank of each machine converts it first."""
        rank, here = torch.distributed.get_rank(), os.uname().nodename
        token: list[Any] = [uuid.uuid4().hex if rank == 0 else None]
        torch.distributed.broadcast_object_list(token, src=0)
        hosts: list[Any] = [None] * self._world
        torch.distributed.all_gather_object(hosts, here)
        converted = Path(tempfile.gettempdir(), f"dsa-universal-{token[0]}")
        config = self._engine._config  # read at load, not at initialisation
        try:
            if hosts.index(here) == rank:
                _convert(Path(folder, tag), converted / tag)
            torch.distributed.barrier()
            config.load_universal_checkpoint = True
            groups = [dict(group) for group in self._engine.optimizer.param_groups]
            path, _ = self._engine.load_checkpoint(str(converted), tag=tag)
            _separate_groups(self._engine.optimizer, groups)
            torch.distributed.barrier()
            return path
        finally:
            config.load_universal_checkpoint = False
            if hosts.index(here) == rank:
                shutil.rmtree(converted, ignore_errors=True)

    def close(self) -> None:
        """Free DeepSpeed's hooks and buffers; the model stays usable."""
        self._engine.destroy()


def _initialize(packed: PackedModel, model: Student, config: TrainConfig) -> Any:
    try:
        engine, *_ = deepspeed.initialize(
            model=packed, optimizer=adamw(model, config), config=deepspeed_config(config, model.num_parameters())
        )
    except (ValueError, AssertionError, DeepSpeedConfigError) as error:
        if not config.deepspeed:
            raise
        told = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"train.deepspeed: DeepSpeed refuses it ({told[:200]})") from error
    return engine


def deepspeed_config(config: TrainConfig, parameters: int) -> dict[str, Any]:
    """DeepSpeed's configuration for a student of so many parameters; `train.deepspeed` goes over it."""
    bucket = min(parameters, _MAX_BUCKET)
    host = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    own: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": config.rows_per_step,
        "gradient_clipping": config.grad_clip,
        "bf16": {"enabled": config.precision == "bf16"},
        "fp16": {"enabled": config.precision == "fp16"},
        "zero_optimization": {
            "stage": config.zero_stage,
            "overlap_comm": torch.cuda.is_available(),
            "contiguous_gradients": True,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
            **({"offload_optimizer": host} if config.offload_optimizer else {}),
            **({"offload_param": host} if config.offload_parameters else {}),
        },
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1 << 62,
    }
    return _merge(own, config.deepspeed)


@contextlib.contextmanager
def _without_checksums() -> Iterator[None]:
    """torch sums every record while training waits, a third of the time of a save; whoever stores the files does it."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        yield
    finally:
        torch.serialization.set_crc32_options(before)


@contextlib.contextmanager
def _nothing_frozen(packed: PackedModel) -> Iterator[None]:
    """The state dict without frozen weights: DeepSpeed leaves out neither tied ones nor the scales of 4-bit ones."""

    def drop_frozen(module: nn.Module, state: dict[str, Any], *rest: Any) -> None:
        kept = _trained(module) | {name for name, _ in module.named_buffers(remove_duplicate=False)}
        for name in state.keys() - kept:
            del state[name]

    hook = packed.register_state_dict_post_hook(drop_frozen)
    try:
        yield
    finally:
        hook.remove()


def _load_trained(src: Mapping[str, Any], dst: nn.Module) -> None:
    """What DeepSpeed calls to load the weights of a checkpoint: all that is trained has to be in it."""
    if lacking := _trained(dst) - src.keys():
        raise RuntimeError(f"{min(lacking)} and {len(lacking) - 1} more of the trained weights are missing")
    dst.load_state_dict(src, strict=False)


def _trained(module: nn.Module) -> set[str]:
    return {name for name, weight in module.named_parameters(remove_duplicate=False) if weight.requires_grad}


@contextlib.contextmanager
def _nothing_but_tensors() -> Iterator[None]:
    """torch reads tensors, plain values and DeepSpeed's own few classes, and calls nothing else that a file names.

    DeepSpeed asks for the opposite (`weights_only=False`) wherever it loads, and a checkpoint on shared storage may be
    anybody's; torch's variable goes over what is asked for.
    """
    before = os.environ.get(_ONLY_WEIGHTS)
    os.environ[_ONLY_WEIGHTS] = "1"
    try:
        with torch.serialization.safe_globals(_OWN_CLASSES):
            yield
    finally:
        if before is None:
            del os.environ[_ONLY_WEIGHTS]
        else:
            os.environ[_ONLY_WEIGHTS] = before


def _fault(error: Exception) -> str:
    """The line that tells; torch's refusals begin with advice."""
    told = str(error).strip() or type(error).__name__
    refusal = _REFUSAL.search(told)
    return (refusal[0] if refusal else told.splitlines()[0])[:200]


def _latest(folder: str) -> str:
    try:
        return Path(folder, "latest").read_text().strip()
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder}: holds no DeepSpeed checkpoint (no file latest)") from None


def _convert(source: Path, target: Path) -> None:
    """DeepSpeed's universal form: every parameter and its moments whole, for any number of ranks."""
    from deepspeed.checkpoint.ds_to_universal import main as convert

    target.mkdir(parents=True)
    # ZeRO 1 and 2 lack a state that only its pipeline engine writes: it has to be put in.
    settings = argparse.Namespace(
        input_folder=str(source),
        output_folder=str(target),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        convert(settings)


def _separate_groups(optimizer: Any, before: list[dict[str, Any]]) -> None:
    """Undo what the universal loading of ZeRO 3 does: it gives every group the first one's hyperparameters (so that
    norms and biases would decay) and one common step counter, which every group would then advance."""
    for group, own in zip(optimizer.param_groups, before, strict=True):
        group.update({key: value for key, value in own.items() if key != "params"})
    for state in getattr(optimizer, "optimizer", optimizer).state.values():
        if torch.is_tensor(state.get("step")):
            state["step"] = state["step"].clone()


def _replicated(engine: Any) -> bool:
    """Whether every rank holds the whole optimizer state, so that their number makes no difference."""
    return not engine.zero_optimization()


def _check_equal_forwards(packed: PackedModel, config: TrainConfig, world: int) -> None:
    """With weights spread over ranks every forward is collective, so all ranks must run equally many."""
    if config.zero_stage == 3 and world > 1 and packed.isolation is Isolation.SEPARATE:
        raise IsolationError(
            f"{type(packed.model).__name__}: its packed examples can only be run one by one, "
            "which train.zero_stage=3 cannot do with several ranks; use train.zero_stage=2"
        )


def _restore_buffers(model: Student, buffers: Mapping[str, torch.Tensor]) -> None:
    """Undo DeepSpeed's cast of the buffers to 16 bits: rotary frequencies so rounded turn position 500 by a radian,
    and what was trained would not be what transformers and vLLM load."""
    for name, before in buffers.items():
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        module._buffers[leaf] = before.to(module._buffers[leaf].device)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = copy.copy(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return merged


def _ensure_process_group(world: int) -> None:
    if world == 1 or not torch.cuda.is_available():
        os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed insists on it; on CPU it selects nothing
    if not torch.distributed.is_initialized():
        if world != 1:
            raise RuntimeError(f"{world} ranks need a process group: set torch.distributed up before the engine")
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend, store=torch.distributed.HashStore(), rank=0, world_size=1)
    actual = torch.distributed.get_world_size()
    if actual != world:
        raise RuntimeError(f"the engine was told of {world} ranks, the process group has {actual}")
