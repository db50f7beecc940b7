"""The queue on a real redis-server: once in it, once more when dirty, back when a worker dies."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from grovekeeper.runtime.queue import Addition, Outcome, Queue
from grovekeeper.runtime.redis_server import EmbeddedRedis


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as running:
        yield running


@pytest.fixture
async def queue(server: EmbeddedRedis) -> AsyncIterator[Queue]:
    redis = Redis.from_url(server.url)
    await redis.flushall()
    yield Queue(redis, "test", ["pods", "nodes"], lease=0.05)
    await redis.aclose()


async def test_a_key_is_in_the_queue_once_and_carries_the_highest_version(queue: Queue) -> None:
    assert await queue.add([Addition("a", 0, "pods", 5), Addition("a", 0, "pods", 3), Addition("b")]) == 2
    assert await queue.add([Addition("a", 0, "nodes", 9)]) == 0
    items = {item.key: dict(item.floors) for item in await queue.take(10)}
    assert items == {"a": {"pods": 5, "nodes": 9}, "b": {}}


async def test_a_key_that_gets_dirty_while_worked_on_runs_again(queue: Queue) -> None:
    await queue.add([Addition("a")])
    await queue.take(1)
    await queue.add([Addition("a", 0, "pods", 7)])
    assert await queue.take(1) == []
    assert await queue.done([Outcome("a")]) == 1
    assert [(item.key, item.floors) for item in await queue.take(1)] == [("a", {"pods": 7})]


async def test_delays_failures_and_dead_workers(queue: Queue) -> None:
    await queue.add([Addition("later", delay=60), Addition("dead")])
    assert [item.key for item in await queue.take(5)] == ["dead"]
    due = await queue.next_due()
    assert due is not None
    assert 0 < due <= 0.05  # when the worker that took it counts as dead: somebody has to be woken for it
    await asyncio.sleep(0.06)  # the lease of that worker
    assert [item.key for item in await queue.take(5)] == ["dead"]
    await queue.done([Outcome("dead", failed=True)])
    assert await queue.take(5) == []
    await queue.done([Outcome("dead")])
    due = await queue.next_due()
    assert due is not None
    assert due <= 60
    assert await queue.depth() == 2
