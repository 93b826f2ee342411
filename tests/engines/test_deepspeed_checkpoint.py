"""Checkpoints of the distributed engine: killed and resumed, on other numbers of ranks, foreign and damaged ones."""

import json
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

pytest.importorskip("deepspeed")

from transformers import AutoModelForCausalLM

from dsa_ray.engines.deepspeed_engine import DeepSpeedEngine
from dsa_ray.sections import TrainConfig
from dsa_ray.storage.checkpoints import CheckpointError, CheckpointStore, step_name
from dsa_ray.training.loop import StepReport, run_rank
from dsa_ray.training.student import prepare
from tests.engines.ranks import spawn
from tests.training.builders import random_row, random_steps, tiny_model

STEPS = 7
ROWS = 4
"""Rows of a step, over all ranks."""


def config_with(world: int = 1, **changes: object) -> TrainConfig:
    base = {"precision": "fp32", "learning_rate": 1e-2, "warmup": 0.0, "rows_per_step": ROWS // world, "zero_stage": 2}
    return TrainConfig(**{**base, **changes})


def _run(rank: int, world: int, folder: str, name: str, changes: dict, kill_at: int) -> None:
    """Train from the latest checkpoint on, save every second step, die at `kill_at`; one file of losses per step."""
    torch.set_num_threads(1)
    where = f"file://{folder}/{name}-{world}-{kill_at}"
    torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=world)
    config = config_with(world, **changes)
    store, count = CheckpointStore(f"{folder}/{name}"), config.rows_per_step
    latest = store.latest()
    engine = DeepSpeedEngine(prepare(tiny_model(seed=0), config), config, world)
    if latest:
        engine.load(store.fetch(latest, folder), "shards")
    torch.distributed.barrier()

    def report(step: StepReport) -> None:
        np.save(f"{folder}/{name}-step-{step.step}-{rank}.npy", np.append(step.losses, step.grad_norm))
        if step.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step.step % 2 == 0:
            staged = f"{folder}/{name}-staged-{world}-{rank}-{step.step}"
            os.mkdir(staged)
            engine.save(staged, "shards")
            Path(staged, f"meta-{rank}.json").write_text("{}")
            if rank == 0:
                Path(staged, "meta.json").write_text(json.dumps({"ranks": world, "loss": step.loss}))
            store.write_part(step_name(step.step), rank, staged)
            torch.distributed.barrier()
            if rank == 0:
                store.commit(step_name(step.step), world)
            torch.distributed.barrier()

    first = int(latest.removeprefix("step-")) if latest else 0
    for step in random_steps(STEPS, ROWS)[first:]:
        run_rank(engine, step[count * rank : count * rank + count], count, report, config)
    torch.distributed.destroy_process_group()


def curve(folder: Path, name: str, world: int) -> list[list[float]]:
    """Losses and gradient norm of every step, all ranks."""
    files = [folder / f"{name}-step-{step}-{rank}.npy" for step in range(1, STEPS + 1) for rank in range(world)]
    return [np.load(file).tolist() for file in files]


def norms(folder: Path) -> list[float]:
    """Gradient norm of every step; all ranks have the same."""
    return [np.load(folder / f"straight-step-{step}-0.npy")[-1] for step in range(1, STEPS + 1)]


@pytest.mark.parametrize(
    ("world", "changes"),
    [
        (1, {"zero_stage": 2, "precision": "bf16"}),
        pytest.param(2, {"zero_stage": 2}, marks=pytest.mark.slow),
        pytest.param(2, {"zero_stage": 3, "precision": "bf16"}, marks=pytest.mark.slow),
        pytest.param(2, {"zero_stage": 0}, marks=pytest.mark.slow),
        pytest.param(2, {"zero_stage": 1, "lora_rank": 4}, marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_the_loss_curve_is_the_same_to_the_last_bit(tmp_path: Path, world: int, changes) -> None:
    spawn(_run, str(tmp_path), "straight", changes, 0, ranks=world)
    died_or_lost_its_peer = (mp.ProcessExitedException, mp.ProcessRaisedException)
    with pytest.raises(died_or_lost_its_peer, match=r"SIGKILL|Connection|gloo"):
        spawn(_run, str(tmp_path), "killed", changes, 5, ranks=world)
    assert CheckpointStore(f"{tmp_path}/killed").latest() == step_name(4)
    spawn(_run, str(tmp_path), "killed", changes, 0, ranks=world)
    assert curve(tmp_path, "killed", world) == curve(tmp_path, "straight", world)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (2, 1, {"zero_stage": 2}),
        pytest.param(1, 2, {"zero_stage": 2, "lora_rank": 4}, marks=pytest.mark.slow),
        pytest.param(1, 2, {"zero_stage": 1}, marks=pytest.mark.slow),
        pytest.param(2, 1, {"zero_stage": 3}, marks=pytest.mark.slow),
        pytest.param(1, 2, {"zero_stage": 3}, marks=pytest.mark.slow),
        pytest.param(1, 2, {"zero_stage": 0}, marks=pytest.mark.slow),
    ],
)
def test_on_another_number_of_ranks_training_goes_on_as_it_would_have(
    tmp_path: Path, before: int, after: int, changes
) -> None:
    """Norms, which need every moment, step counter and hyperparameter of the optimizer to have come over."""
    spawn(_run, str(tmp_path), "straight", changes, 0, ranks=before)
    expected = norms(tmp_path)
    (tmp_path / "straight" / "latest").write_text(step_name(2))
    CheckpointStore(f"{tmp_path}/straight").discard_unfinished()
    spawn(_run, str(tmp_path), "straight", changes, 0, ranks=after)
    np.testing.assert_allclose(norms(tmp_path)[2:], expected[2:], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora_rank": 4}, "parameters: "),
        ({"zero_stage": 1}, "zero_stage: 2 there, 1 here"),
        ({"precision": "bf16"}, "precision: fp32 there, bf16 here"),
    ],
)
def test_a_foreign_checkpoint_is_refused_in_one_line(build, tmp_path: Path, changes: dict, words: str) -> None:
    build(config_with()).save(str(tmp_path), "shards")
    with pytest.raises(CheckpointError, match=words) as refusal:
        build(config_with(**changes)).load(str(tmp_path), "shards")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_checkpoint_of_an_adapter_comes_back_without_its_base(build, tmp_path: Path, stage: int) -> None:
    config = config_with(zero_stage=stage, lora_rank=1)
    engine = build(config)
    run_rank(engine, [random_row()] * ROWS, ROWS, lambda report: None, config)
    engine.save(str(tmp_path), "shards")
    saved = torch.load(next((tmp_path / "shards").glob("*model_states.pt")), weights_only=False)
    assert saved["module"]
    assert all(".lora_" in name for name in saved["module"])
    assert not saved.get("frozen_param_fragments")
    fresh = build(config)
    before = fresh.copy_student(merged=True)
    fresh.load(str(tmp_path), "shards")
    loaded, expected = fresh.copy_student(merged=True), engine.copy_student(merged=True)
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    assert not all(torch.equal(before[name], expected[name]) for name in expected)


def test_a_checkpoint_that_lacks_weights_of_the_adapter_is_refused(build, tmp_path: Path) -> None:
    engine = build(config_with(lora_rank=4))
    engine.save(str(tmp_path), "shards")
    file = next((tmp_path / "shards").glob("*model_states.pt"))
    saved = torch.load(file, weights_only=False)
    del saved["module"][next(name for name in saved["module"] if ".lora_" in name)]
    torch.save(saved, file)
    with pytest.raises(CheckpointError, match=r"lora_A.* of the trained weights are missing") as refusal:
        build(config_with(lora_rank=4)).load(str(tmp_path), "shards")
    assert "\n" not in str(refusal.value)


def test_a_folder_of_somebody_else_is_refused(build, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    with pytest.raises(FileNotFoundError, match="was not written by this program"):
        build(config_with()).load(str(tmp_path), "shards")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_files_that_deepspeed_cannot_read_are_an_error_of_one_line(build, tmp_path: Path, content) -> None:
    engine = build(config_with())
    engine.save(str(tmp_path), "shards")
    for file in (tmp_path / "shards").glob("*states.pt"):
        if content is None:
            file.write_bytes(file.read_bytes()[:100])
        else:
            file.write_bytes(content)
    with pytest.raises(CheckpointError, match="DeepSpeed cannot read it") as refusal:
        engine.load(str(tmp_path), "shards")
    assert "\n" not in str(refusal.value)


class _Command:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("which", ["*model_states.pt", "*optim_states.pt"])
def test_a_checkpoint_cannot_run_anything(build, tmp_path: Path, which: str, ranks: int) -> None:
    """Neither read as it is, nor while it is converted for another number of ranks."""
    engine = build(config_with())
    engine.save(str(tmp_path), "shards")
    for file in (tmp_path / "shards").glob(which):
        torch.save({**torch.load(file, weights_only=False), "extra": _Command(tmp_path / "made")}, file)
    origin = tmp_path / "shards" / "engine.json"
    origin.write_text(json.dumps({**json.loads(origin.read_text()), "ranks": ranks}))
    with pytest.raises(CheckpointError, match=r"unsupported GLOBAL \w+\.mkdir") as refusal:
        engine.load(str(tmp_path), "shards")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "made").exists()


def test_random_states_come_back(build, tmp_path: Path) -> None:
    engine = build(config_with())
    engine.save(str(tmp_path), "shards")
    drawn = random.random(), np.random.rand(), torch.rand(2).tolist()
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    engine.load(str(tmp_path), "shards")
    assert (random.random(), np.random.rand(), torch.rand(2).tolist()) == drawn


def test_a_copy_of_the_student_is_of_the_step_when_it_was_taken(build, tmp_path: Path) -> None:
    engine = build(config_with())
    weights = engine.copy_student()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    run_rank(engine, [random_row()] * ROWS, ROWS, lambda report: None, config_with())
    engine.write_student(weights, str(tmp_path))
    written = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    for name, tensor in before.items():
        assert torch.equal(written[name], tensor)
    assert not torch.equal(written["model.norm.weight"], engine.copy_student()["model.norm.weight"])


@pytest.mark.parametrize("stage", [2, 3])
def test_the_expected_size_is_near_what_is_written(build, tmp_path: Path, stage: int) -> None:
    engine = build(config_with(zero_stage=stage))
    run_rank(engine, [random_row()] * ROWS, ROWS, lambda report: None, config_with())
    engine.save(str(tmp_path), "shards")
    engine.write_student(engine.copy_student(), str(tmp_path / "student"))
    written = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert 0.6 * written < engine.saved_bytes < 1.5 * written
