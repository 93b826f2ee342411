"""A student's weights replaced while it is asked, with a real vLLM: nothing lost, nothing mixed, nothing stale."""

import asyncio
import importlib.util
from pathlib import Path

import pytest

from dsa_ray.actors.replica import Replica, student_teacher
from dsa_ray.engines.base import EngineCall
from dsa_ray.engines.vllm_engine import VLLMEngine
from tests.engines.scripted import config
from tests.engines.tiny_model import tiny_llama

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
LONG = "The same beginning, long enough for several blocks of the prefix cache. " * 4
CHATS = [[{"role": "user", "content": f"{LONG}{number}"}] for number in range(6)]


async def greedy(engine: VLLMEngine) -> list[str]:
    """One after the other: which requests share a batch would change the last digits."""
    calls = [EngineCall(messages=chat, max_tokens=24, temperature=0.0) for chat in CHATS]
    return [(await engine.generate(call)).text for call in calls]


def test_new_weights_never_read_the_prefix_cache_of_old_ones(tmp_path: Path) -> None:
    first, other = tiny_llama(tmp_path / "first", 0), tiny_llama(tmp_path / "other", 1)
    served = student_teacher(config(student={"model": first, "max_model_len": 512}))

    async def answers(start: str, then: str | None) -> list[str]:
        engine = VLLMEngine(served, start, concurrency=16)
        await engine.start()
        found = await greedy(engine)
        await greedy(engine)  # now out of the cache
        if then is not None:
            await engine.load_weights(then, "1")
            found = await greedy(engine)
        await engine.stop()
        return found

    async def scenario() -> None:
        refreshed = await answers(first, other)
        assert refreshed == await answers(other, None)

    asyncio.run(scenario())


def test_no_answer_is_lost_in_refreshes_and_each_names_the_weights_that_wrote_it(tmp_path: Path) -> None:
    versions = [tiny_llama(tmp_path / str(seed), seed) for seed in range(3)]
    settings = config(student={"model": versions[0], "max_model_len": 512}, generate={"in_flight": 64, "slots": 64})
    served = student_teacher(settings)
    ended: list[str] = []

    async def scenario() -> None:
        engine = VLLMEngine(served, versions[0], concurrency=64)
        own = settings.model_copy(update={"teacher": served})
        replica = Replica("student", own, engine, end=lambda reason: ended.append(reason))
        await replica.start()
        chats = [[{"role": "user", "content": f"What is {number}?"}] for number in range(96)]
        asked = [asyncio.create_task(replica.converse(chat, 120, 0.0)) for chat in chats]
        pauses: list[float] = []
        for number in (1, 2):
            await asyncio.sleep(0.3)
            pauses.append(await replica.load_weights(versions[number], f"step-{number}"))
        late = [asyncio.create_task(replica.converse(chat, 8, 0.0)) for chat in chats[:8]]
        found = [await task for task in asked]
        named = {version for _, version in found}
        print(f"pauses {pauses}, versions {named}")
        assert not ended
        assert len(found) == 96
        assert all(answer.output_tokens for answer, _ in found)
        assert named <= {"0", "0>step-1", "0>step-2", "step-1", "step-1>step-2", "step-2"}
        assert {version for _, version in [await task for task in late]} == {"step-2"}
        assert max(pauses) < 5.0  # on a machine that does nothing else it is far below 0.5
        await replica.stop()

    asyncio.run(scenario())
