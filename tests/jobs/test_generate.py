"""The arm of Ray Data LLM: its gate lets a round through in batches, and its absence is a line."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def data_llm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "jobs" / "bench"))
    import _data_llm

    return _data_llm


def test_the_gate_waits_gives_batches_and_ends(data_llm: ModuleType) -> None:
    async def scenario() -> None:
        gate = data_llm.Gate()
        waiting = asyncio.create_task(gate.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        rows = [{"n": number} for number in range(data_llm.BATCH + 3)]
        await gate.open(rows)
        assert [*await waiting, *await gate.take()] == rows
        waiting = asyncio.create_task(gate.take())
        await asyncio.sleep(0)
        await gate.end()
        assert await waiting is None
        assert await gate.take() is None

    asyncio.run(asyncio.wait_for(scenario(), 5.0))


def test_what_the_engine_is_asked_is_what_the_row_says(data_llm: ModuleType) -> None:
    row = {"tokenized_prompt": [1, 2], "max_tokens": 7, "temperature": 0.5, "top_p": 0.9}
    asked = data_llm._asked(row)
    assert asked["tokenized_prompt"] == [1, 2]
    assert asked["sampling_params"] == {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "detokenize": False}
    assert data_llm._answered({"num_generated_tokens": 5, "text": "x"}) == {"tokens": 5}


def test_without_vllm_the_reason_is_a_line(data_llm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert data_llm.missing() == "vLLM is not installed"
