import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dsa_ray.engines.base import EngineCall, EngineDead, EngineError, EngineRefused, TextEngine, build
from dsa_ray.engines.vllm_engine import VLLMEngine
from dsa_ray.sections import TeacherConfig
from tests.engines.tiny_model import tiny_llama

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "maxLength": 20}},
    "required": ["answer"],
    "additionalProperties": False,
}


def ask(text: str, **changes) -> EngineCall:
    settings = {"max_tokens": 48, "temperature": 0.0, **changes}
    return EngineCall(
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}], **settings
    )


def texts(answers: list) -> list[str]:
    return [answer.text for answer in answers]


async def several(engine: TextEngine, *calls: EngineCall) -> list:
    return list(await asyncio.gather(*(engine.generate(call) for call in calls)))


async def check(engine: TextEngine, other: str) -> None:
    """Structured output, length, a prompt too long, cancelling, and weights swapped with requests in flight."""
    (structured,) = await several(engine, ask("x", schema=SCHEMA, temperature=1.0, seed=3, max_tokens=200))
    # Where a length is bounded, xgrammar lets control characters through.
    assert set(json.loads(structured.text, strict=False)) == {"answer"}
    assert structured.finish_reason == "stop"
    before = await several(engine, *(ask(str(n)) for n in range(8)))
    assert {answer.finish_reason for answer in before} == {"length"}
    assert {answer.output_tokens for answer in before} == {48}
    assert texts(await several(engine, *(ask(str(n)) for n in range(8)))) == texts(before)
    with pytest.raises(EngineError, match="max_model_len"):
        await engine.generate(ask("y" * 2000))
    given_up = asyncio.create_task(engine.generate(ask("z", max_tokens=400)))
    await asyncio.sleep(0.05)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    with pytest.raises(EngineError, match="no model"):
        await engine.load_weights("nowhere", "1")
    assert engine.version == "0"
    flying = [asyncio.create_task(engine.generate(ask(str(n), max_tokens=300))) for n in range(8)]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await engine.load_weights(other, "17")
    swap_s = time.monotonic() - began
    assert not any(task.done() for task in flying), "they should still run"
    assert {answer.output_tokens for answer in await asyncio.gather(*flying)} == {300}
    assert swap_s < 20
    assert engine.version == "17"
    after = await several(engine, *(ask(str(n)) for n in range(8)))
    assert texts(after) != texts(before)
    await engine.load_weights(os.environ["FIRST_WEIGHTS"], "18")
    assert texts(await several(engine, *(ask(str(n)) for n in range(8)))) == texts(before)
    await engine.stop()
    with pytest.raises(EngineDead):
        await engine.generate(ask("x"))


@pytest.mark.parametrize("own_process", [False, True], ids=["in-process", "own-process"])
def test_vllm_serves_structured_output_and_swaps_weights_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_process: bool
):
    first, other = tiny_llama(tmp_path / "first", 0), tiny_llama(tmp_path / "other", 1)
    monkeypatch.setenv("FIRST_WEIGHTS", first)
    teacher = TeacherConfig(model=first, max_model_len=512, kv_cache_gib=0.25)

    async def scenario() -> None:
        engine = VLLMEngine(teacher, first, concurrency=16, own_process=own_process)
        await engine.start()
        await check(engine, other)

    asyncio.run(asyncio.wait_for(scenario(), 240.0))


def test_no_answer_is_built_upon_a_prefix_that_older_weights_have_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, other = tiny_llama(tmp_path / "first", 0), tiny_llama(tmp_path / "other", 1)
    question = ask("a question of several blocks of the cache, " * 8)
    engine = VLLMEngine(TeacherConfig(model=first, max_model_len=512, kv_cache_gib=0.25), first, concurrency=4)

    async def answer_after(*weights: str) -> str:
        """The answer on the last of these weights, the question having been asked on each of them."""
        for path in weights:
            await engine.load_weights(path, path)
            given = await engine.generate(question)
        return given.text

    async def scenario() -> None:
        from vllm.v1.engine.llm_engine import LLMEngine

        await engine.start()
        own = await answer_after(other)
        assert await answer_after(first, other) == own
        await answer_after(first)
        monkeypatch.setattr(LLMEngine, "reset_prefix_cache", lambda *_, **__: True)
        assert await answer_after(other) != own  # so there is a cache, and it would be used
        await engine.stop()

    asyncio.run(asyncio.wait_for(scenario(), 240.0))


def test_a_model_that_is_not_there_is_refused_in_one_line(tmp_path: Path):
    engine = build(TeacherConfig(model=str(tmp_path)), str(tmp_path), 0.0)
    with pytest.raises(EngineRefused, match=r"teacher\.model: vLLM cannot serve"):
        asyncio.run(asyncio.wait_for(engine.start(), 120.0))


STARTS_AND_WAITS = """
import asyncio, sys, psutil
from dsa_ray.sections import TeacherConfig
from dsa_ray.engines.vllm_engine import VLLMEngine

async def main():
    teacher = TeacherConfig(model=sys.argv[1], max_model_len=256, kv_cache_gib=0.25)
    await VLLMEngine(teacher, sys.argv[1], own_process=True).start()
    print("children", *(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
    await asyncio.sleep(600)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_killed_replica_leaves_no_vllm_process_behind(tmp_path: Path):
    script = tmp_path / "replica.py"
    script.write_text(STARTS_AND_WAITS)
    model = tiny_llama(tmp_path / "model")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    replica = subprocess.Popen([sys.executable, script, model], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        line = next(line for line in replica.stdout if line.startswith("children"))
    finally:
        replica.kill()
        replica.wait(20)
    pids = [int(pid) for pid in line.split()[1:]]
    assert pids
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline, "an orphan goes on"
        time.sleep(0.2)


def test_vllms_own_metrics_are_left_out_rather_than_the_engine_where_ray_serve_is_not_whole(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from vllm.v1.metrics import ray_wrappers

    from dsa_ray.engines.vllm_engine import _stat_loggers

    assert _stat_loggers(False) is None
    monkeypatch.setattr(ray_wrappers, "ray_metrics", object())
    assert _stat_loggers(True) == [ray_wrappers.RayPrometheusStatLogger]
    monkeypatch.setattr(ray_wrappers, "ray_metrics", None)
    assert _stat_loggers(True) is None
    assert "ray[serve]" in caplog.text


def lora(folder: Path, model: str, rank: int) -> tuple[str, str]:
    """A random LoRA adapter of the model, and the model with it merged in."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(5)
    shape = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "v_proj", "down_proj"])
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), shape)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    adapted.save_pretrained(folder / "adapter")
    adapted.merge_and_unload().save_pretrained(folder / "merged")
    AutoTokenizer.from_pretrained(model).save_pretrained(folder / "merged")
    return str(folder / "adapter"), str(folder / "merged")


def served(teacher: TeacherConfig, own_process: bool, *calls: EngineCall) -> list:
    async def scenario() -> list:
        engine = VLLMEngine(teacher, teacher.model, concurrency=16, own_process=own_process)
        await engine.start()
        try:
            return await several(engine, *calls)
        finally:
            await engine.stop()

    return asyncio.run(asyncio.wait_for(scenario(), 240.0))


@pytest.mark.parametrize("own_process", [False, True], ids=["in-process", "own-process"])
def test_an_adapter_writes_what_the_merged_model_writes_and_a_template_what_it_says(tmp_path: Path, own_process: bool):
    model = tiny_llama(tmp_path / "model", spread=0.2)
    adapter, merged = lora(tmp_path, model, 4)
    template = tmp_path / "chat.jinja"
    template.write_text("{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}:")
    common = {"max_model_len": 512, "kv_cache_gib": 0.25, "dtype": "float32", "chat_template": str(template)}
    calls = [ask(str(number), max_tokens=8) for number in range(8)]
    changes = {"adapter": adapter, "prefix_caching": False}
    found = served(TeacherConfig(model=model, **common, **changes), own_process, *calls)
    assert texts(found) == texts(served(TeacherConfig(model=merged, **common), own_process, *calls))
    assert texts(found) != texts(served(TeacherConfig(model=model, **common), own_process, *calls))
    assert {answer.input_tokens for answer in found} == {len("<") + len("Be brief.") + len("0") + len(":")}


def test_an_adapter_of_another_model_and_a_quantisation_that_cannot_be_are_refused_in_one_line(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    model = tiny_llama(tmp_path / "model")
    adapter, _ = lora(tmp_path, model, 4)
    weights = Path(adapter, "adapter_model.safetensors")
    renamed = {name.replace("q_proj", "c_attn"): each.clone() for name, each in load_file(weights).items()}
    save_file(renamed, weights)
    common = {"model": model, "max_model_len": 256, "kv_cache_gib": 0.25}
    with pytest.raises(EngineRefused, match=r"teacher\.adapter: vLLM cannot serve .*adapter with"):
        served(TeacherConfig(**common, adapter=adapter), False)
    with pytest.raises(EngineRefused, match=r"teacher\.model: vLLM cannot serve"):
        served(TeacherConfig(**common, quantization="awq"), False)


def test_a_tokenizer_without_a_chat_template_gets_the_default_one(tmp_path: Path):
    model = tiny_llama(tmp_path / "model")
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        path = Path(model, name)
        if path.exists() and name.endswith(".jinja"):
            path.unlink()
        elif path.exists():
            path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "chat_template"}))
    (answer,) = served(TeacherConfig(model=model, max_model_len=256, kv_cache_gib=0.25), False, ask("0", max_tokens=4))
    assert answer.input_tokens == len("<") + len("Be brief.") + len("\n") + len("0") + len("\n")
