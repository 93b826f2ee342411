"""What a teacher's section becomes: the engine's arguments and each call's sampling. No vLLM is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsa_ray.config import Config
from dsa_ray.engines.base import EngineRefused
from dsa_ray.engines.calls import call_for
from dsa_ray.engines.vllm_engine import VLLMEngine
from dsa_ray.generation.prompts import render
from dsa_ray.generation.tokens import DEFAULT_CHAT_TEMPLATE
from dsa_ray.sections import TeacherConfig
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


class PooledTokenizer:
    """As vLLM's: what is set on it reaches none of the copies that do the work."""

    def __init__(self, own: str | None) -> None:
        self.chat_template = own

    def apply_chat_template(self, chat: list[dict[str, str]], *, chat_template: str | None, **how: bool) -> str:
        assert how == {"tokenize": False, "add_generation_prompt": True}
        return chat_template or "own"

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [len(text)]


@pytest.mark.parametrize(
    ("own", "given", "taken"), [("x", None, "own"), (None, None, DEFAULT_CHAT_TEMPLATE), ("x", "{{ messages }}", None)]
)
def test_the_template_is_given_with_every_call(tmp_path: Path, own: str | None, given: str | None, taken: str | None):
    path = tmp_path / "chat.jinja"
    path.write_text(given or "")
    engine = VLLMEngine(TeacherConfig(chat_template=str(path) if given else None), "model")
    tokenizer = PooledTokenizer(own)
    engine._template = engine._chat_template(tokenizer)
    assert engine._prompt(tokenizer, [{"role": "user", "content": "x"}]) == [len(taken or given or "")]


def test_a_template_that_is_not_on_the_replicas_node_is_refused(tmp_path: Path) -> None:
    engine = VLLMEngine(TeacherConfig(chat_template=str(tmp_path / "none")), "model")
    with pytest.raises(EngineRefused, match=r"^teacher\.chat_template: there is no file"):
        engine._chat_template(PooledTokenizer("x"))


@pytest.mark.slow
def test_every_quantisation_that_is_taken_is_one_of_vllms() -> None:
    methods = pytest.importorskip("vllm.model_executor.layers.quantization").QUANTIZATION_METHODS
    kind = TeacherConfig.model_json_schema()["properties"]["quantization"]["anyOf"][0]["enum"]
    assert set(kind) <= set(methods)
