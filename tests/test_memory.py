from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dsa_ray.config import Config, parse
from dsa_ray.memory import GIB, MemoryRow, estimate, memory, model_shape


def config(**sections: Any) -> Config:
    return parse({"run": {"name": "test"}, "graph": {"target": "calculus"}, **sections})


def row(rows: list[MemoryRow], name: str) -> MemoryRow:
    return next(found for found in rows if found.name == name)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen3-0.6B", 0.6),
        ("meta-llama/Llama-3.3-70B-Instruct", 70),
        ("HuggingFaceTB/SmolLM2-135M", 0.135),
        ("mistralai/Mixtral-8x7B-v0.1", 46.48),
        ("Qwen/Qwen3-30B-A3B", 30),
    ],
)
def test_the_number_in_a_name_gives_the_size(name: str, billions: float) -> None:
    shape = model_shape(name)
    assert shape.parameters == pytest.approx(billions * 1e9)
    assert shape.known == "name"


def test_a_name_without_a_number_is_a_guess_and_says_so() -> None:
    assert model_shape("org/some-model").known == "guess"


def test_a_local_folder_is_read_rather_than_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "mine-70B"
    folder.mkdir()
    described = {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "intermediate_size": 11008,
        "vocab_size": 32000,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(described))
    shape = model_shape(str(folder))
    assert shape.parameters == pytest.approx(6.74e9, rel=0.01)  # Llama-2-7B
    assert shape.kv_width == 4096


def test_a_folder_with_a_strange_description_falls_back_to_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "odd-3B"
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": "wide"}')
    assert model_shape(str(folder)).known == "name"


def test_zero_stages_divide_what_they_say_they_divide() -> None:
    student = model_shape("x-7B")
    at = {
        stage: row(memory(config(train={"ranks": 8, "zero_stage": stage}), [student], student), "rank").gib
        for stage in (0, 1, 2, 3)
    }
    assert at[0] > at[1] > at[2] > at[3]
    weights_gradients_moments = 7e9 * (2 + 2 + 12) / GIB
    assert at[0] - at[3] == pytest.approx(weights_gradients_moments * 7 / 8)


def test_lora_keeps_gradients_and_moments_small() -> None:
    student = model_shape("x-7B")
    full = row(memory(config(), [student], student), "rank").gib
    adapter = row(memory(config(train={"lora_rank": 16}), [student], student), "rank").gib
    assert adapter < full / 4


def test_checkpointing_activations_saves_memory() -> None:
    student = model_shape("x-7B")
    saved = row(memory(config(train={"activation_checkpointing": True}), [student], student), "rank").gib
    assert saved < row(memory(config(), [student], student), "rank").gib


def test_the_small_default_models_take_little_but_their_processes_do_not() -> None:
    rows = memory(config(), [model_shape("embedded:teacher")], model_shape("embedded:student"))
    assert sum(found.gib * found.count for found in rows) < 12


def test_models_on_gpus_are_counted_there() -> None:
    wanted = config(cluster={"rank_gpus": 1, "replica_gpus": 1})
    rows = memory(wanted, [model_shape("x-7B")], model_shape("x-7B"))
    assert row(rows, "rank").where == row(rows, "teacher").where == "GPU"
    assert row(rows, "rank, host").where == "CPU"


def test_a_served_teacher_takes_no_memory_here() -> None:
    wanted = config(teacher={"kind": "openai", "base_url": "http://127.0.0.1:1/v1"})
    assert all(found.name != "teacher" for found in memory(wanted, [model_shape("a")], model_shape("b")))


def test_every_teacher_of_a_pool_is_counted() -> None:
    teachers = [{"model": "x-7B", "replicas": 3}, {"model": "y-1B"}, {"kind": "openai", "base_url": "http://h/v1"}]
    rows = estimate(config(teachers=teachers))
    assert row(rows, "teacher").count == 3
    assert row(rows, "teacher").gib > row(rows, "teacher-1").gib
    assert row(rows, "streams").count == 6
    assert not any(found.name == "teacher-2" for found in rows)


def test_frozen_weights_in_4_bits_take_about_a_quarter() -> None:
    cards = {"rank_gpus": 1}
    train = {"lora_rank": 16, "zero_stage": 0}
    whole = row(estimate(config(student={"model": "x-8B"}, train=train, cluster=cards)), "rank").gib
    small = row(
        estimate(config(student={"model": "x-8B"}, train={**train, "quantize": "nf4"}, cluster=cards)), "rank"
    ).gib
    assert whole - small == pytest.approx(8e9 * (2 - 0.55) / GIB, rel=0.01)


def test_what_is_offloaded_moves_from_the_card_to_main_memory() -> None:
    def rows(**train: Any) -> list[MemoryRow]:
        return estimate(config(student={"model": "x-7B"}, train={"zero_stage": 3, **train}, cluster={"rank_gpus": 1}))

    kept, moved = rows(), rows(offload_optimizer=True, offload_parameters=True)
    freed = row(kept, "rank").gib - row(moved, "rank").gib
    assert freed == pytest.approx(7e9 * (2 + 12) / GIB)
    assert row(moved, "rank, host").gib - row(kept, "rank, host").gib == pytest.approx(freed)
