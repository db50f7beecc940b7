"""The queue on a real redis-server: once in it, once more when dirty, back when a worker dies."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from grovekeeper.runtime.queue import Addition, Outcome, Queue
from grovekeeper.runtime.redis_server import EmbeddedRedis

LEASE = 1.0
"""Seconds for which a key is its worker's: long enough that a busy machine does nothing else in between."""


@pytest.fixture
async def queue(redis_server: EmbeddedRedis) -> AsyncIterator[Queue]:
    redis = Redis.from_url(redis_server.url)
    await redis.flushall()
    yield Queue(redis, "test", ["pods", "nodes"], lease=LEASE)
    await redis.aclose()


async def test_a_key_is_in_the_queue_once_and_carries_the_highest_version(queue: Queue) -> None:
    assert await queue.add([Addition("a", 0, "pods", 5), Addition("a", 0, "pods", 3), Addition("b")]) == 2
    assert await queue.add([Addition("a", 0, "nodes", 9)]) == 0
    items = {item.key: dict(item.floors) for item in await queue.take(10)}
    assert items == {"a": {"pods": 5, "nodes": 9}, "b": {}}


async def test_a_key_that_gets_dirty_while_worked_on_runs_again(queue: Queue) -> None:
    await queue.add([Addition("a")])
    [item] = await queue.take(1)
    await queue.add([Addition("a", 0, "pods", 7)])
    assert await queue.take(1) == []
    assert await queue.done([Outcome("a", claim=item.claim)]) == 1
    assert [(item.key, item.floors) for item in await queue.take(1)] == [("a", {"pods": 7})]


async def test_delays_failures_and_dead_workers(queue: Queue) -> None:
    await queue.add([Addition("later", delay=60), Addition("dead")])
    assert [item.key for item in await queue.take(5)] == ["dead"]
    outlook = await queue.outlook()
    assert outlook.due is not None
    assert outlook.working
    assert 0 < outlook.due <= LEASE  # when the worker that took it counts as dead: somebody has to be woken for it
    await asyncio.sleep(LEASE * 1.1)
    # Each failure in a row doubles the pause: the eighth is longer than a busy machine takes to look.
    for _ in range(8):
        while not (found := await queue.take(5)):
            await asyncio.sleep(0.01)
        [again] = found
        assert again.key == "dead"
        await queue.done([Outcome("dead", failed=True, claim=again.claim)])
    assert await queue.take(5) == []
    outlook = await queue.outlook()
    assert outlook.due is not None
    assert outlook.due <= 60
    assert (outlook.waiting, outlook.working) == (2, False)


async def test_a_key_whose_claim_is_renewed_goes_to_nobody_else(queue: Queue) -> None:
    await queue.add([Addition("long")])
    items = await queue.take(1)
    for _ in range(3):
        await asyncio.sleep(LEASE / 2)
        assert await queue.renew(items) == set()
        assert await queue.take(1) == []


async def test_a_worker_that_has_lost_a_key_can_neither_renew_it_nor_give_it_back(queue: Queue) -> None:
    """Given back by the first, it would go to a third while the second still works on it."""
    await queue.add([Addition("a")])
    [slow] = await queue.take(1)
    await asyncio.sleep(LEASE * 1.1)
    [fast] = await queue.take(1)
    assert await queue.renew([slow]) == {"a"}
    await queue.done([Outcome("a", again=0, claim=slow.claim)])
    assert await queue.take(1) == []
    assert await queue.done([Outcome("a", again=0, claim=fast.claim)]) == 1


async def test_a_claim_that_redis_has_forgotten_is_made_again(redis_server: EmbeddedRedis, queue: Queue) -> None:
    """The resync after Redis has been emptied queues every key, those that are worked on as well."""
    await queue.add([Addition("a")])
    items = await queue.take(1)
    redis = Redis.from_url(redis_server.url)
    await redis.flushall()
    await redis.aclose()
    await queue.add([Addition("a", 0, "pods", 3)])
    assert await queue.renew(items) == set()
    assert await queue.take(1) == []
    assert await queue.done([Outcome("a", claim=items[0].claim)]) == 1
    assert [(item.key, item.floors) for item in await queue.take(1)] == [("a", {"pods": 3})]
