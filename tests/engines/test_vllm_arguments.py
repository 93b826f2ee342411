"""What a teacher's section becomes: the engine's arguments and each call's sampling. No vLLM is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsa_ray.config import Config, TeacherConfig
from dsa_ray.engines.calls import call_for
from dsa_ray.engines.vllm_engine import VLLMEngine
from dsa_ray.generation.prompts import render
from tests.engines.scripted import assignment, config
from tests.test_served_files import adapter


def arguments(gpus: float = 0.0, **teacher: Any) -> dict[str, Any]:
    return VLLMEngine(TeacherConfig(**teacher), "model", gpus=gpus)._arguments()


def test_nothing_set_leaves_the_model_as_it_is() -> None:
    found = arguments()
    assert found["quantization"] is None
    assert found["enable_prefix_caching"] is True
    assert "enable_lora" not in found


def test_what_is_set_is_passed_on(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "adapter", r=12)
    found = arguments(adapter=folder, quantization="awq", prefix_caching=False, dtype="float16")
    assert (found["enable_lora"], found["max_loras"], found["max_lora_rank"]) == (True, 1, 16)
    assert (found["quantization"], found["enable_prefix_caching"], found["dtype"]) == ("awq", False, "float16")


def test_cards_and_their_share_are_for_gpus_only() -> None:
    found = arguments(gpus=2.0, tensor_parallel=2, memory_fraction=0.5)
    assert (found["tensor_parallel_size"], found["gpu_memory_utilization"]) == (2, 0.5)
    assert "tensor_parallel_size" not in arguments(tensor_parallel=2)


def sampling(made: Config) -> tuple[float, float]:
    work = assignment(1)
    call = call_for(work, (), render(work, ()), made)
    return call.temperature, call.top_p


def test_a_teachers_own_sampling_goes_before_that_of_all() -> None:
    assert sampling(config(generate={"temperature": 0.7, "top_p": 0.8})) == (0.7, 0.8)
    own = {"temperature": 0.0, "top_p": 0.5}
    assert sampling(config(generate={"temperature": 0.7, "top_p": 0.8}, teacher=own)) == (0.0, 0.5)


def test_texts_say_that_an_adapter_wrote_them() -> None:
    assert TeacherConfig(model="a/b").generator == "a/b"
    assert TeacherConfig(model="a/b", adapter="lora/x").generator == "a/b+lora/x"


@pytest.mark.slow
def test_every_quantisation_that_is_taken_is_one_of_vllms() -> None:
    methods = pytest.importorskip("vllm.model_executor.layers.quantization").QUANTIZATION_METHODS
    kind = TeacherConfig.model_json_schema()["properties"]["quantization"]["anyOf"][0]["enum"]
    assert set(kind) <= set(methods)
