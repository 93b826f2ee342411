import asyncio
import time

import pytest

from dsa_ray.actors.outbox import Outbox
from dsa_ray.streams.batches import StaleReader
from tests.engines.scripted import completion


def filled(count: int) -> Outbox:
    outbox = Outbox(incarnation=1, linger_s=0.0)
    for number in range(count):
        outbox.put(completion(number))
    return outbox


def ids(batch) -> list[int]:
    return [completion.request.id for completion in batch.completions]


def test_a_batch_is_sent_again_when_its_reply_was_lost_and_the_next_when_it_was_seen():
    async def scenario():
        outbox = filled(5)
        first = await outbox.take(3, 0.0)
        assert ids(first) == [0, 1, 2]
        assert await outbox.take(3, 0.0) == first
        second = await outbox.take(3, 0.0, seen=first.token)
        assert ids(second) == [3, 4]
        empty = await outbox.take(3, 0.0, seen=second.token)
        assert ids(empty) == []
        outbox.put(completion(5))
        assert ids(await outbox.take(3, 0.0, seen=empty.token)) == [5]

    asyncio.run(scenario())


def test_a_new_reader_gets_all_that_is_not_confirmed_once_more_and_then_what_is_new():
    async def scenario():
        outbox = filled(4)
        first = await outbox.take(2, 0.0, reader=1)
        second = await outbox.take(2, 0.0, first.token, reader=1)
        outbox.put(completion(4))
        outbox.confirm([first.token, "another:7"])
        assert len(outbox) == 3
        assert await outbox.take(2, 0.0, reader=2) == second
        third = await outbox.take(2, 0.0, second.token, reader=2)
        assert ids(third) == [4]
        outbox.confirm([third.token, second.token, second.token])
        assert len(outbox) == 0
        assert ids(await outbox.take(2, 0.0, third.token, reader=2)) == []
        assert ids(await outbox.take(2, 0.0, reader=3)) == []

    asyncio.run(scenario())


def test_tokens_of_an_earlier_incarnation_mean_nothing():
    async def scenario():
        old, new = filled(1), Outbox(incarnation=2, linger_s=0.0)
        token = (await old.take(1, 0.0)).token
        new.put(completion(9))
        batch = await new.take(1, 0.0, seen=token)
        new.confirm([token])
        assert ids(batch) == [9]
        assert len(new) == 1

    asyncio.run(scenario())


def test_an_empty_outbox_answers_after_the_wait_and_a_waiting_reader_as_soon_as_there_is_something():
    async def scenario():
        outbox = Outbox(incarnation=1, linger_s=0.0)
        began = time.monotonic()
        assert ids(await outbox.take(3, 0.05)) == []
        assert 0.04 < time.monotonic() - began < 1.0
        waiting = asyncio.create_task(outbox.take(3, 30.0))
        await asyncio.sleep(0.01)
        outbox.put(completion(4))
        assert ids(await asyncio.wait_for(waiting, 1.0)) == [4]

    asyncio.run(scenario())


def test_an_overtaken_reader_is_refused_also_while_it_waits():
    async def scenario():
        outbox = Outbox(incarnation=1, linger_s=0.0)
        old = asyncio.create_task(outbox.take(3, 5.0, reader=1))
        await asyncio.sleep(0.01)
        new = asyncio.create_task(outbox.take(3, 5.0, reader=2))
        await asyncio.sleep(0.01)
        outbox.put(completion(4))
        with pytest.raises(StaleReader):
            await old
        assert ids(await new) == [4]
        with pytest.raises(StaleReader):
            await outbox.take(1, 0.0, reader=1)

    asyncio.run(scenario())
