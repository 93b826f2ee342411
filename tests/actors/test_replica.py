import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from dsa_ray.actors.replica import CuratorLost, Replica, student_teacher
from dsa_ray.engines.base import EngineAnswer, EngineCall, EngineDead, EngineError, EngineRefused
from dsa_ray.records import Assignment
from tests.engines.scripted import ScriptedEngine, assignment, config


class Work:
    """Hands out assignments 0..count-1 once each; remembers what was asked for."""

    def __init__(self, count: int) -> None:
        self._waiting = [assignment(number) for number in range(count)]
        self.asked: list[int] = []

    async def __call__(self, n: int) -> list[Assignment]:
        self.asked.append(n)
        given, self._waiting = self._waiting[:n], self._waiting[n:]
        return given


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20.0))


async def drain(replica: Replica, count: int) -> list:
    found, seen = [], ""
    while len(found) < count:
        batch = await replica.completed(64, 0.5, seen)
        found.extend(batch.completions)
        seen = batch.token
        await replica.confirm([seen])
    return found


def failing(error: Exception) -> ScriptedEngine:
    def script(call: EngineCall) -> EngineAnswer:
        raise error

    return ScriptedEngine(script)


def test_a_replica_completes_all_that_it_leases_and_keeps_at_most_in_flight_running():
    async def scenario():
        engine = ScriptedEngine(seconds=0.01)
        replica = Replica("teacher-0", config(), engine, incarnation=5, lease=Work(50))
        found = await drain(replica, 50)
        assert sorted(completion.request.id for completion in found) == list(range(50))
        assert engine.most == 8
        assert found[0].generator == "scripted"
        assert found[0].generator_version == "0/teacher-0.5"
        assert found[0].prompt_version.startswith("exercise@")
        stats = replica.stats()
        assert stats["answers"] == 50
        assert stats["output_tokens"] == 350
        assert 0.0 <= stats["idle_ratio"] < 1.0
        await replica.stop()
        assert engine.stopped

    run(scenario)


def test_a_replica_whose_completions_are_not_confirmed_stops_leasing():
    async def scenario():
        engine = ScriptedEngine()
        replica = Replica("teacher-0", config(generate={"in_flight": 8, "slots": 20}), engine, lease=Work(500))
        await replica.start()
        await asyncio.sleep(0.5)
        assert 20 <= len(engine.calls) <= 28
        batch = await replica.completed(64, 0.5)
        await asyncio.sleep(0.1)
        assert len(engine.calls) <= 28
        await replica.confirm([batch.token])
        await asyncio.sleep(0.2)
        assert len(engine.calls) > 28
        await replica.stop()

    run(scenario)


def test_a_request_leased_twice_while_it_runs_is_answered_once():
    async def scenario():
        async def lease(n: int) -> list[Assignment]:
            return [assignment(1)]

        engine = ScriptedEngine(seconds=0.2)
        replica = Replica("teacher-0", config(), engine, lease=lease)
        await replica.start()
        await asyncio.sleep(0.15)
        assert len(engine.calls) == 1
        await replica.stop()

    run(scenario)


def test_a_failed_request_and_a_request_out_of_time_become_error_completions():
    async def scenario():
        replica = Replica("teacher-0", config(), failing(EngineError("the model is busy")), lease=Work(1))
        (failed,) = await drain(replica, 1)
        assert (failed.finish_reason, failed.text) == ("error", "the model is busy")
        await replica.stop()
        slow = config(generate={"in_flight": 8, "slots": 32, "request_timeout_s": 0.1})
        replica = Replica("teacher-0", slow, ScriptedEngine(seconds=30), lease=Work(1))
        (late,) = await drain(replica, 1)
        assert late.finish_reason == "error"
        assert "generate.request_timeout_s" in late.text
        await replica.stop()

    run(scenario)


def test_a_dead_engine_ends_the_process():
    async def scenario():
        ended: list[str] = []
        engine = failing(EngineDead("the core has died"))
        replica = Replica("teacher-0", config(), engine, lease=Work(1), end=ended.append)
        await replica.start()
        await asyncio.sleep(0.1)
        assert ended
        assert "the core has died" in ended[0]
        await replica.stop()

    run(scenario)


def test_an_engine_that_hangs_ends_the_process_even_if_it_blocks_the_event_loop():
    async def scenario():
        def script(call: EngineCall) -> EngineAnswer:
            time.sleep(0.8)
            return EngineAnswer(text="", finish_reason="stop", output_tokens=0)

        ended: list[str] = []
        hasty = config(watch={"hang_s": 0.3})
        replica = Replica("teacher-0", hasty, ScriptedEngine(script), lease=Work(1), end=ended.append)
        await drain(replica, 1)
        assert ended
        assert "watch.hang_s" in ended[0]
        await replica.stop()

    run(scenario)


@pytest.mark.parametrize(("kind", "ends"), [("openai", False), ("python", True)])
def test_a_model_behind_an_address_that_is_away_costs_its_requests_and_not_the_process(kind: str, ends: bool):
    async def scenario():
        class Away(ScriptedEngine):
            async def generate(self, call: EngineCall) -> EngineAnswer:
                await asyncio.sleep(30)
                raise AssertionError

        ended: list[str] = []
        hasty = config(watch={"hang_s": 1.0}, generate={"request_timeout_s": 2.0})  # a second for a busy machine
        teacher = hasty.teacher.model_copy(update={"kind": kind})
        replica = Replica(
            "teacher-0", hasty.model_copy(update={"teacher": teacher}), Away(), lease=Work(3), end=ended.append
        )
        rows = await drain(replica, 3)
        assert [row.finish_reason for row in rows] == ["error"] * 3
        await asyncio.sleep(0.4)
        assert bool(ended) == ends
        await replica.stop()

    run(scenario)


def test_an_idle_engine_does_not_hang():
    async def scenario():
        ended: list[str] = []
        hasty = config(watch={"hang_s": 0.1})
        replica = Replica("teacher-0", hasty, ScriptedEngine(), lease=Work(1), end=ended.append)
        await drain(replica, 1)
        await asyncio.sleep(0.4)
        assert not ended
        await replica.stop()

    run(scenario)


def test_an_engine_that_is_not_ready_in_time_ends_the_process():
    async def scenario():
        class Sleeper(ScriptedEngine):
            async def start(self) -> None:
                await asyncio.sleep(30)

        ended: list[str] = []
        replica = Replica("teacher-0", config(watch={"engine_start_s": 0.1}), Sleeper(), end=ended.append)
        with pytest.raises(TimeoutError):
            await replica.start()
        assert "watch.engine_start_s" in ended[0]

    run(scenario)


def test_a_refused_engine_is_a_fault_that_every_caller_sees():
    async def scenario():
        replica = Replica("teacher-0", config(), failing(EngineRefused("wrong key")), lease=Work(1))
        with pytest.raises(EngineRefused, match="wrong key"):
            await replica.completed(8, 5.0)
        with pytest.raises(EngineRefused, match="wrong key"):
            await replica.completed(8, 5.0)
        await replica.stop()

    run(scenario)


def test_a_curator_that_is_away_for_a_while_is_waited_for_and_one_that_stays_away_is_an_error():
    async def scenario():
        work, calls = Work(3), 0

        async def shaky(n: int) -> list[Assignment]:
            nonlocal calls
            calls += 1
            if calls < 4:
                raise ConnectionError("restarting")
            return await work(n)

        replica = Replica("teacher-0", config(), ScriptedEngine(), lease=shaky)
        assert len(await drain(replica, 3)) == 3
        await replica.stop()

        async def gone(n: int) -> list[Assignment]:
            raise ConnectionError("dead")

        replica = Replica("teacher-0", config(watch={"stall_s": 0.3}), ScriptedEngine(), lease=gone)
        with pytest.raises(CuratorLost, match=r"watch\.stall_s"):
            await replica.completed(8, 5.0)
        await replica.stop()

    run(scenario)


def test_ask_answers_in_order_and_tries_a_failed_chat_again():
    async def scenario():
        failures = {"b": 2}

        def script(call: EngineCall) -> EngineAnswer:
            text = call.messages[0]["content"]
            if failures.get(text, 0):
                failures[text] -= 1
                raise EngineError("busy")
            return EngineAnswer(text=text.upper(), finish_reason="stop", output_tokens=1)

        replica = Replica("student", config(), ScriptedEngine(script))
        chats = [[{"role": "user", "content": text}] for text in "abc"]
        assert await replica.ask(chats, 8, 0.0) == ["A", "B", "C"]
        failures["c"] = 99
        with pytest.raises(EngineError, match="chat 2 failed 3 times: busy"):
            await replica.ask(chats, 8, 0.0)
        await replica.stop()

    run(scenario)


def test_loaded_weights_show_in_the_version_of_what_is_written():
    async def scenario():
        work = Work(2)
        replica = Replica("teacher-0", config(), ScriptedEngine(), lease=lambda n: work(1))
        await replica.load_weights("folder", "17")
        assert (await drain(replica, 2))[1].generator_version == "17/teacher-0.0"
        await replica.stop()

    run(scenario)


def test_the_student_is_served_by_vllm_with_its_own_lengths():
    teacher = student_teacher(config(student={"model": "somewhere/student", "max_model_len": 333}))
    assert (teacher.kind, teacher.model, teacher.max_model_len) == ("vllm", "somewhere/student", 333)


def test_every_answer_names_the_weights_that_wrote_it():
    async def scenario():
        engine = ScriptedEngine(seconds=0.05)
        replica = Replica("student", config(), engine)
        chats = [[{"role": "user", "content": str(number)}] for number in range(4)]
        first = await replica.answer(chats, 8, 0.0)
        under_way = asyncio.create_task(replica.answer(chats, 8, 0.0))
        await asyncio.sleep(0.02)
        assert await replica.load_weights("folder", "step-10") >= 0.0
        crossing = await under_way
        last = await replica.answer(chats, 8, 0.0)
        assert {version for _, version in first} == {"0"}
        assert {version for _, version in crossing} == {"0>step-10"}
        assert {version for _, version in last} == {"step-10"}
        assert await replica.ask(chats, 8, 0.0) == [text for text, _ in last]
        await replica.stop()

    run(scenario)


def test_the_students_replica_keeps_to_its_part_of_a_card() -> None:
    shared = config(teacher={"memory_fraction": 0.4}, cluster={"student_gpus": 0.15})
    assert student_teacher(shared).memory_fraction == 0.15
    alone = config(teacher={"memory_fraction": 0.4}, cluster={"student_gpus": 1})
    assert student_teacher(alone).memory_fraction == 0.4
