import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("deepspeed")

from peft import PeftModel
from transformers import AutoModelForCausalLM

from dsa_ray.config import ConfigError
from dsa_ray.engines.deepspeed_engine import DeepSpeedEngine, _check_equal_forwards, deepspeed_config
from dsa_ray.sections import TrainConfig
from dsa_ray.training import loss as loss_module
from dsa_ray.training.collate import Row
from dsa_ray.training.isolation import Isolation, IsolationError, PackedModel
from dsa_ray.training.loop import NonFiniteLoss, StepReport, run_rank
from dsa_ray.training.student import prepare
from dsa_ray.training.torch_engine import TorchEngine
from tests.engines.ranks import spawn
from tests.training.builders import ARCHITECTURES, VOCABULARY, greedy, random_row, random_steps, tiny_model

CONFIG = TrainConfig(precision="fp32", learning_rate=1e-2, warmup=0.0, rows_per_step=2, zero_stage=2)


def config_with(**changes: object) -> TrainConfig:
    return CONFIG.model_copy(update=changes)


def train(
    engine: DeepSpeedEngine | TorchEngine, steps: list[list[Row]], config: TrainConfig = CONFIG
) -> list[StepReport]:
    reports: list[StepReport] = []
    run_rank(engine, [row for step in steps for row in step], len(steps[0]), reports.append, config)
    return reports


def exported(engine: DeepSpeedEngine | TorchEngine, folder: Path) -> dict[str, torch.Tensor]:
    engine.export_hf(str(folder))
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


@pytest.mark.parametrize("stage", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_in_fp32_one_rank_equals_the_plain_engine(build, tmp_path: Path, stage: int) -> None:
    steps = random_steps(10, 2)
    config = config_with(zero_stage=stage, learning_rate=1e-3)
    plain, engine = TorchEngine(tiny_model(), config), build(config)
    for left, right in zip(train(engine, steps, config), train(plain, steps, config), strict=True):
        np.testing.assert_allclose(left.losses, right.losses, rtol=0, atol=3e-6)  # a unit of fp32 here is 5e-7
        assert left.grad_norm == pytest.approx(right.grad_norm, rel=1e-5)
    expected = exported(plain, tmp_path / "plain")
    for name, tensor in exported(engine, tmp_path / "deepspeed").items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("changes", [{"zero_stage": 2}, {"zero_stage": 3}, {"zero_stage": 2, "lora_rank": 4}], ids=str)
@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "llama"])
def test_every_architecture_trains_packed_rows_as_the_plain_engine_does(
    build, architecture: str, changes: dict[str, object]
) -> None:
    config, steps = config_with(learning_rate=1e-3, **changes), random_steps(3, 2)
    engine = build(config, architecture=architecture)
    plain = TorchEngine(prepare(tiny_model(architecture), config), config)
    for left, right in zip(train(engine, steps, config), train(plain, steps, config), strict=True):
        np.testing.assert_allclose(left.losses, right.losses, rtol=0, atol=1e-5)
        assert left.grad_norm == pytest.approx(right.grad_norm, rel=1e-4)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_stage_trains_in_bf16(build, stage: int) -> None:
    reports = train(build(config_with(precision="bf16", zero_stage=stage)), [[random_row()] * 2] * 4)
    assert reports[-1].loss < reports[0].loss
    assert all(report.grad_norm > 0 for report in reports)


@pytest.mark.parametrize(("stage", "precision"), [(2, "fp32"), (2, "bf16"), (3, "bf16")])
def test_a_loaded_checkpoint_goes_on_bit_for_bit(build, tmp_path: Path, stage: int, precision: str) -> None:
    config = config_with(zero_stage=stage, precision=precision)
    steps = random_steps(6, 2)
    straight = build(config)
    train(straight, steps[:3])
    straight.save(str(tmp_path), "step-3")
    expected = train(straight, steps[3:])
    resumed = build(config, seed=1)
    resumed.load(str(tmp_path))
    for left, right in zip(train(resumed, steps[3:]), expected, strict=True):
        assert left.losses.tolist() == right.losses.tolist()
        assert left.grad_norm == right.grad_norm


def test_a_checkpoint_that_is_not_there_is_an_error(build, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no DeepSpeed checkpoint"):
        build(CONFIG).load(str(tmp_path))


def test_a_probe_gives_no_gradient_but_a_loss(build, tmp_path: Path) -> None:
    engine = build(config_with(weight_decay=0.0))
    row = random_row()
    row["weight"][:] = 0.0
    (report,) = train(engine, [[row, row]])
    assert (report.losses > 0).all()
    assert report.grad_norm == 0.0
    for name, tensor in exported(engine, tmp_path).items():
        assert torch.equal(tensor, tiny_model().state_dict()[name])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_that_are_not_numbers_stop_the_loop(build, precision: str) -> None:
    engine = build(config_with(precision=precision))
    with torch.no_grad():
        engine._model.get_output_embeddings().weight.fill_(torch.nan)
    with pytest.raises(NonFiniteLoss, match=r"step 1: the loss of exercises \[100, 101, 102\]"):
        train(engine, random_steps(1, 2))


def test_a_skipped_step_has_an_infinite_norm(build) -> None:
    engine = build(config_with(precision="bf16"))
    train(engine, random_steps(1, 2))
    row = random_row(denominator=1e-45)
    assert np.isfinite(engine.train_row(row, last=False).losses).all()
    engine.train_row(row, last=True)
    assert engine.step(1e-3).grad_norm == np.inf


def test_an_exported_student_writes_the_same_tokens(build, tmp_path: Path) -> None:
    engine = build(config_with(precision="bf16"))
    train(engine, random_steps(3, 2))
    engine.export_hf(str(tmp_path))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == torch.bfloat16
    engine._model.set_attn_implementation("sdpa")
    assert greedy(loaded) == greedy(engine._model)


def test_rotary_frequencies_stay_in_fp32(build) -> None:
    """DeepSpeed casts buffers to bf16, which would turn the position 500 by a radian."""
    engine = build(config_with(precision="bf16"))
    rotary = engine._model.model.rotary_emb.inv_freq
    assert rotary.dtype == torch.float32
    assert torch.equal(rotary, tiny_model().model.rotary_emb.inv_freq)


def test_lora_trains_under_zero_and_saves_its_adapter(build, tmp_path: Path) -> None:
    config = config_with(lora_rank=4)
    engine = build(config)
    reports = train(engine, [[random_row()] * 2] * 4)
    assert reports[-1].loss < reports[0].loss
    engine.export_hf(str(tmp_path / "adapter"))
    loaded = PeftModel.from_pretrained(tiny_model(), str(tmp_path / "adapter"), is_trainable=True)
    row = random_row()
    losses = [tool.train_row(row, last=True).losses for tool in (engine, TorchEngine(loaded, CONFIG))]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)


def _train_rank(rank: int, world: int, folder: str, stage: int) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    steps = [step[2 * rank : 2 * rank + 2] for step in random_steps(4, 2 * world)]
    engine = DeepSpeedEngine(tiny_model(), config_with(zero_stage=stage), world)
    reports = train(engine, steps)
    engine.save(f"{folder}/checkpoint", "end")
    torch.distributed.barrier()
    engine.load(f"{folder}/checkpoint")
    engine.export_hf(f"{folder}/student")
    np.save(f"{folder}/losses-{rank}.npy", np.concatenate([report.losses for report in reports]))
    np.save(f"{folder}/norms-{rank}.npy", np.array([report.grad_norm for report in reports]))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("stage", [2, *(pytest.param(stage, marks=pytest.mark.slow) for stage in (0, 1, 3))])
def test_two_ranks_equal_one(tmp_path: Path, stage: int) -> None:
    spawn(_train_rank, str(tmp_path), stage, ranks=2)
    one = TorchEngine(tiny_model(), config_with(rows_per_step=4))
    expected = train(one, random_steps(4, 4))
    weights = exported(one, tmp_path / "plain")
    norms = [np.load(tmp_path / f"norms-{rank}.npy") for rank in range(2)]
    np.testing.assert_allclose(norms[0], norms[1])
    np.testing.assert_allclose(norms[0], [report.grad_norm for report in expected], rtol=1e-4)
    losses = [np.load(tmp_path / f"losses-{rank}.npy").reshape(4, 6) for rank in range(2)]
    np.testing.assert_allclose(np.concatenate(losses, axis=1), [r.losses for r in expected], atol=1e-4)
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "student").state_dict()
    for name, tensor in student.items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-4)


def test_the_users_deepspeed_keys_go_over_ours() -> None:
    config = config_with(deepspeed={"zero_optimization": {"reduce_bucket_size": 7}, "wall_clock_breakdown": True})
    merged = deepspeed_config(config, 1000)
    assert merged["zero_optimization"]["reduce_bucket_size"] == 7
    assert merged["zero_optimization"]["stage"] == 2
    assert merged["wall_clock_breakdown"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"zero_optimization": {"reduce_bucket": 7}}, "reduce_bucket Extra inputs"),
        ({"prescale_gradients": True}, "pre-scale gradients"),
        ({"sparse_gradients": True}, "has been removed"),
    ],
)
def test_what_deepspeed_refuses_of_the_users_keys_is_one_line(build, given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^train\.deepspeed: DeepSpeed refuses it \(.*{words}") as refusal:
        build(config_with(deepspeed=given))
    assert "\n" not in str(refusal.value)


def test_a_world_that_is_not_that_of_the_process_group_is_refused(build) -> None:
    build(CONFIG)
    with pytest.raises(RuntimeError, match="told of 2 ranks, the process group has 1"):
        DeepSpeedEngine(tiny_model(), CONFIG, world=2)


def test_forwards_of_unequal_number_are_refused_where_they_are_collective() -> None:
    packed = PackedModel(tiny_model(), Isolation.SEPARATE)
    with pytest.raises(IsolationError, match=r"use train.zero_stage=2"):
        _check_equal_forwards(packed, config_with(zero_stage=3), world=2)
    _check_equal_forwards(packed, config_with(zero_stage=3), world=1)
    _check_equal_forwards(packed, config_with(zero_stage=2), world=2)


def test_standard_output_stays_clean_and_nothing_is_compiled(tmp_path: Path) -> None:
    script = (
        "import logging, sys\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "from dsa_ray.sections import TrainConfig\n"
        "from dsa_ray.engines.deepspeed_engine import DeepSpeedEngine\n"
        "from tests.training.builders import random_row, tiny_model\n"
        "engine = DeepSpeedEngine(tiny_model(), TrainConfig(rows_per_step=1))\n"
        "engine.train_row(random_row(), last=True)\n"
        "engine.step(1e-3)\n"
        "engine.save(sys.argv[1], 'end')\n"
    )
    extensions = tmp_path / "extensions"
    environment = {"PATH": "/nowhere", "TORCH_EXTENSIONS_DIR": str(extensions)}
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "checkpoint")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert not extensions.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"zero_stage": 2, "offload_optimizer": True},
        {"zero_stage": 2, "activation_checkpointing": True},
        pytest.param({"zero_stage": 3, "offload_optimizer": True, "offload_parameters": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_what_saves_memory_changes_no_loss(build, changes: dict[str, object]) -> None:
    expected = train(TorchEngine(tiny_model(), CONFIG), random_steps(3, 2))
    reports = train(build(config_with(**changes)), random_steps(3, 2))
    np.testing.assert_allclose([r.losses for r in reports], [r.losses for r in expected], atol=1e-4)
    np.testing.assert_allclose([r.grad_norm for r in reports], [r.grad_norm for r in expected], rtol=1e-3)


@pytest.mark.parametrize("stage", [2, 3])
def test_a_large_vocabulary_is_taken_in_pieces_under_zero(build, stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train(TorchEngine(tiny_model(), CONFIG), random_steps(3, 2))
    monkeypatch.setattr(loss_module, "_CHUNK_LOGITS", 3 * VOCABULARY)
    reports = train(build(config_with(zero_stage=stage)), random_steps(3, 2))
    np.testing.assert_allclose([r.losses for r in reports], [r.losses for r in expected], atol=1e-4)
    np.testing.assert_allclose([r.grad_norm for r in reports], [r.grad_norm for r in expected], rtol=1e-3)
