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


def test_a_batch_is_delivered_again_until_it_is_acknowledged():
    async def scenario():
        outbox = filled(5)
        first = await outbox.take(3, 0.0)
        assert ids(first) == [0, 1, 2]
        assert await outbox.take(3, 0.0) == first
        assert await outbox.take(3, 0.0, ack="something else") == first
        assert len(outbox) == 5
        second = await outbox.take(3, 0.0, ack=first.token)
        assert ids(second) == [3, 4]
        assert ids(await outbox.take(0, 0.0, ack=second.token)) == []
        assert len(outbox) == 0

    asyncio.run(scenario())


def test_an_acknowledgement_of_an_earlier_incarnation_acknowledges_nothing():
    async def scenario():
        old, new = filled(1), Outbox(incarnation=2, linger_s=0.0)
        token = (await old.take(1, 0.0)).token
        new.put(completion(9))
        batch = await new.take(1, 0.0, ack=token)
        assert ids(batch) == [9]
        assert ids(await new.take(1, 0.0, ack=token)) == [9]

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


def test_a_new_reader_takes_over_and_the_old_one_is_refused():
    async def scenario():
        outbox = filled(2)
        old = await outbox.take(1, 0.0, reader=1)
        assert await outbox.take(1, 0.0, reader=2) == old
        with pytest.raises(StaleReader):
            await outbox.take(1, 0.0, ack=old.token, reader=1)
        assert ids(await outbox.take(1, 0.0, ack=old.token, reader=2)) == [1]

    asyncio.run(scenario())


def test_a_reader_that_is_overtaken_while_it_waits_gets_nothing():
    async def scenario():
        outbox = Outbox(incarnation=1, linger_s=0.0)
        old = asyncio.create_task(outbox.take(3, 5.0, reader=1))
        await asyncio.sleep(0.01)
        new = asyncio.create_task(outbox.take(3, 5.0, reader=2))
        await asyncio.sleep(0.01)
        outbox.put(completion(4))
        assert ids(await old) == []
        assert ids(await new) == [4]

    asyncio.run(scenario())
