"""Wake-ups on a real redis-server: soon where there is something to do, few questions where there is not."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from grovekeeper.reconciler.waking import Waker, awake_key
from grovekeeper.runtime import redis_client
from grovekeeper.runtime.queue import Addition, Outcome, Queue
from grovekeeper.runtime.redis_server import EmbeddedRedis


class Scene:
    """A queue, its waker, and what was woken."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.queue = Queue(redis, "test")
        self.woken = asyncio.Event()
        self.times = 0
        loop = asyncio.get_running_loop()

        def wake(name: str) -> None:
            assert name == "test"
            self.times += 1
            loop.call_soon_threadsafe(self.woken.set)

        def report(error: Exception) -> None:
            raise error

        self.waker = Waker([self.queue], redis, wake, report)

    async def is_woken(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.woken.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def looks(self) -> int:
        """Return how often Redis has been asked for its clock, which each look does once."""
        found = await self.redis.info("commandstats")
        return int(found.get("cmdstat_time", {}).get("calls", 0))


@pytest.fixture
async def scene(redis_server: EmbeddedRedis) -> AsyncIterator[Scene]:
    redis = redis_client.of(redis_server.url)
    await redis.flushall()
    found = Scene(redis)
    running = asyncio.create_task(found.waker.run())
    yield found
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await redis.aclose()


async def test_a_key_of_this_process_is_told_at_once_and_once(scene: Scene) -> None:
    await scene.queue.add([Addition("a")])
    scene.waker.added()
    assert await scene.is_woken(5)
    await asyncio.sleep(0.1)
    assert scene.times == 1, "the wake-up is on its way"


async def test_a_key_that_is_due_later_and_one_that_another_process_has_added_are_told_without_a_word(
    scene: Scene,
) -> None:
    await scene.queue.add([Addition("a", delay=0.1)])
    assert await scene.is_woken(5)
    await scene.redis.delete(awake_key("test"))
    [item] = await scene.queue.take(1)
    await scene.queue.done([Outcome("a", claim=item.claim)])
    scene.woken.clear()
    await scene.queue.add([Addition("b")])
    assert await scene.is_woken(5)


async def test_at_rest_redis_is_asked_a_few_times_a_second(scene: Scene) -> None:
    await scene.queue.add([Addition("a", delay=3600)])
    assert 1 <= await looks_a_second(scene) <= 6
    await scene.queue.add([Addition("now")])
    assert await scene.queue.take(1)
    assert await looks_a_second(scene) > 6, "while a key is worked on, its worker may add others"


async def looks_a_second(scene: Scene) -> float:
    """Count for a second; where the machine is busy it is a longer one."""
    loop = asyncio.get_running_loop()
    before, begin = await scene.looks(), loop.time()
    await asyncio.sleep(1)
    return (await scene.looks() - before) / (loop.time() - begin)
