import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsa_ray.engines.base import EngineAnswer, EngineCall, EngineError, EngineRefused, build
from dsa_ray.engines.openai_engine import MESSAGE_TOKENS, OpenAIEngine, _estimate
from dsa_ray.sections import TeacherConfig
from tests.engines.scripted_server import Scripted, completion, error, serve
from tests.engines.tiny_model import tiny_llama

CALL = EngineCall(messages=[{"role": "user", "content": "2 + 3?"}], max_tokens=9, seed=4)
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


def answers(server: Scripted, *calls: EngineCall, **settings) -> list[EngineAnswer | BaseException]:
    """Ask all at once; errors are returned."""
    teacher = TeacherConfig(kind="openai", model="m", base_url=server.url, api_key_env="TEST_KEY")

    async def scenario() -> list[EngineAnswer | BaseException]:
        engine = OpenAIEngine(teacher, "m", **settings)
        await engine.start()
        found = await asyncio.gather(*(engine.generate(call) for call in calls), return_exceptions=True)
        await engine.stop()
        return found

    return asyncio.run(asyncio.wait_for(scenario(), 30.0))


def test_a_call_becomes_one_chat_completion_with_key_and_schema(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_KEY", "secret")
    structured = EngineCall(messages=CALL.messages, max_tokens=9, schema=SCHEMA, temperature=0.5, top_p=0.9)
    with serve(lambda number, body: completion('{"answer": "5"}')) as server:
        (answer,) = answers(server, structured)
        assert answer == EngineAnswer(text='{"answer": "5"}', finish_reason="stop", output_tokens=5, input_tokens=12)
        assert server.keys == ["Bearer secret"]
        assert server.bodies == [
            {
                "model": "m",
                "messages": [{"role": "user", "content": "2 + 3?"}],
                "max_tokens": 9,
                "temperature": 0.5,
                "top_p": 0.9,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                },
            }
        ]


def test_the_endpoint_is_asked_again_no_sooner_than_it_says():
    with serve(lambda number, body: error(429, Retry_After="1") if number == 0 else completion()) as server:
        (answer,) = answers(server, CALL)
        assert answer.text == "fine"
        assert server.times[1] - server.times[0] >= 1.0
        assert server.bodies[0]["seed"] == 4


@pytest.mark.parametrize(
    "bad",
    [error(500), error(503), (200, {}, b"<html>"), (200, {}, b'{"choices": []}'), (200, {}, b'{"choices": 3}')],
    ids=["500", "503", "html", "no-choice", "nonsense"],
)
def test_server_errors_and_malformed_bodies_are_tried_again(bad):
    with serve(lambda number, body: bad if number < 2 else completion()) as server:
        assert answers(server, CALL)[0].text == "fine"
        assert len(server.bodies) == 3


def test_an_endpoint_that_stays_broken_fails_the_request_at_its_deadline():
    with serve(lambda number, body: error(500, "out of memory")) as server:
        began = time.monotonic()
        (failure,) = answers(server, CALL, timeout_s=1.0)
        assert isinstance(failure, EngineError)
        assert "out of memory" in str(failure)
        assert time.monotonic() - began < 5.0


def test_an_endpoint_that_hangs_fails_the_request_at_its_deadline_and_the_others_go_on():
    with serve(lambda number, body: (0, {}, b"") if body["seed"] == 0 else completion()) as server:
        calls = [EngineCall(messages=CALL.messages, max_tokens=9, seed=seed) for seed in range(6)]
        hung, *rest = answers(server, *calls, timeout_s=1.0)
        assert isinstance(hung, EngineError)
        assert "no answer within 1 s" in str(hung)
        assert [answer.text for answer in rest] == ["fine"] * 5


@pytest.mark.parametrize(("status", "hint"), [(401, "TEST_KEY"), (403, "TEST_KEY"), (404, "teacher.model")])
def test_a_wrong_key_or_model_is_refused_at_once(status: int, hint: str):
    with serve(lambda number, body: error(status, "no")) as server:
        (failure,) = answers(server, CALL)
        assert isinstance(failure, EngineRefused)
        assert hint in str(failure)
        assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_key_that_the_endpoint_repeats_is_in_no_error(monkeypatch: pytest.MonkeyPatch, status: int):
    monkeypatch.setenv("TEST_KEY", "sk-hidden")
    with serve(lambda number, body: error(status, "Incorrect API key provided: sk-hidden.")) as server:
        (failure,) = answers(server, CALL, timeout_s=1.0)
        assert isinstance(failure, EngineError | EngineRefused)
        assert "Incorrect API key provided: ***." in str(failure)
        assert "sk-hidden" not in repr(failure)


def test_a_bad_request_fails_alone_but_nothing_else_than_bad_requests_is_refused():
    with serve(lambda number, body: error(400, "too long") if body["seed"] else completion()) as server:
        calls = [EngineCall(messages=CALL.messages, max_tokens=9, seed=seed) for seed in [0, *[1] * 12]]
        first, *failures = answers(server, *calls, concurrency=1)
        assert first.text == "fine"
        assert {type(failure) for failure in failures} == {EngineError}
    with serve(lambda number, body: error(400, "no response_format here")) as server:
        failures = answers(server, *[CALL] * 8, concurrency=1)
        assert isinstance(failures[-1], EngineRefused)
        assert "generate.structured" in str(failures[-1])


def test_a_filtered_answer_is_a_failed_request():
    with serve(lambda number, body: completion("", "content_filter")) as server:
        (failure,) = answers(server, CALL)
        assert isinstance(failure, EngineError)
        assert (failure.spent.input_tokens, failure.spent.output_tokens) == (12, 5)  # it is paid for all the same


def test_an_overloaded_endpoint_gets_fewer_requests_at_a_time_and_all_are_answered():
    with serve(lambda number, body: error(429) if number < 16 else completion()) as server:
        found = answers(server, *[CALL] * 60, concurrency=32)
        assert [answer.text for answer in found] == ["fine"] * 60


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        7,
        {"completion_tokens": None},
        {"completion_tokens": -3, "prompt_tokens": "many"},
        {"total": 10**30},
    ],
)
def test_an_endpoint_that_counts_nothing_is_estimated_and_said_so_once(usage: Any, caplog: pytest.LogCaptureFixture):
    text = "a long answer, as they are"
    with serve(lambda number, body: completion(text, usage=usage)) as server:
        calls = [EngineCall(messages=CALL.messages, max_tokens=limit) for limit in (100, 100, 9)]
        found = answers(server, *calls)
    assert [answer.output_tokens for answer in found] == [len(text) / 2, len(text) / 2, 9]
    assert {answer.input_tokens for answer in found} == {MESSAGE_TOKENS + 3}
    assert [record.message for record in caplog.records if "usage" in record.message] == [
        f"{server.url} reports no usage: tokens are estimated at 2 bytes each"
    ]


@given(st.text(max_size=200))
def test_an_estimate_is_no_less_than_a_token_for_every_two_bytes(text: str):
    assert len(text.encode(errors="replace")) <= 2 * _estimate(text) <= len(text.encode(errors="replace")) + 1


def test_what_the_endpoint_counts_is_taken_where_it_counts_something():
    with serve(lambda number, body: completion("fine", usage={"completion_tokens": 3})) as server:
        (answer,) = answers(server, CALL)
    assert (answer.output_tokens, answer.input_tokens) == (3, MESSAGE_TOKENS + 3)


def test_weights_of_an_endpoint_cannot_be_loaded():
    teacher = TeacherConfig(kind="openai", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(EngineRefused):
        asyncio.run(build(teacher, "m", 0.0).load_weights("x", "1"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllms_own_server_is_an_endpoint_like_any_other(tmp_path: Path):
    model = tiny_llama(tmp_path / "model")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    cpu = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    options = ["--model", model, "--host", "127.0.0.1", "--port", str(port), "--served-model-name", "m"]
    limits = ["--max-model-len", "512", "--enforce-eager", "--kv-cache-memory-bytes", str(2**28)]
    server = subprocess.Popen(
        [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *options, *limits],
        env=os.environ | quiet | cpu,
        start_new_session=True,
    )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/health", server)
        teacher = TeacherConfig(kind="openai", model="m", base_url=f"http://127.0.0.1:{port}/v1")

        async def scenario() -> list[EngineAnswer]:
            engine = build(teacher, "m", 0.0)
            await engine.start()
            free = EngineCall(messages=CALL.messages, max_tokens=20, temperature=0.0)
            structured = EngineCall(messages=CALL.messages, max_tokens=300, schema=SCHEMA, seed=3)
            found = await asyncio.gather(engine.generate(free), engine.generate(free), engine.generate(structured))
            await engine.stop()
            return found

        first, second, structured = asyncio.run(asyncio.wait_for(scenario(), 120.0))
        assert first == second
        assert first.output_tokens > 0
        assert structured.text.lstrip().startswith("{")
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(20)


def _wait_until_healthy(url: str, server: subprocess.Popen, limit_s: float = 240.0) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        try:
            if opener.open(url, timeout=5).status == 200:
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server was not ready in time")
