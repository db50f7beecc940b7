"""Tasks that ask Redis can be ended."""

import asyncio

import pytest
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from grovekeeper.runtime import redis_client
from grovekeeper.runtime.redis_server import EmbeddedRedis


async def test_a_task_that_asks_redis_again_and_again_ends_when_it_is_cancelled(redis_server: EmbeddedRedis) -> None:
    redis = redis_client.of(redis_server.url, socket_timeout=10)

    async def ask() -> None:
        while True:
            await redis.ping()

    for number in range(200):
        task = asyncio.create_task(ask())
        await asyncio.sleep(number % 20 / 10_000)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=5)
        assert ended, f"it goes on after cancellation {number}"
        assert task.cancelled()
    assert await redis.ping(), "what was cancelled has left no answer behind"
    assert await redis.echo("this") == b"this"
    await redis.aclose()


@pytest.mark.parametrize(
    ("url", "kind"), [("rediss://h:1/2", SSLConnection), ("unix:///tmp/r.sock", UnixDomainSocketConnection)]
)
async def test_the_scheme_says_how_to_connect(url: str, kind: type) -> None:
    redis = redis_client.of(url, socket_timeout=10)
    assert issubclass(redis.connection_pool.connection_class, kind)
    assert redis.connection_pool.connection_kwargs["socket_timeout"] == 10
    await redis.aclose()
