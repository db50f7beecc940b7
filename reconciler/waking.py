"""Wake-ups: workers are told where keys are due, and Redis is asked no more often than that needs."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from redis import RedisError
from redis.asyncio import Redis

from grovekeeper.runtime import metrics, queue

_BUSY_SECONDS = 0.02
"""Between two looks while keys are worked on: workers add keys and give them back without a word to us."""
_REST_SECONDS = 0.2
"""While none is, only we add keys; and an owner of placement that begins, which may wait this long."""
_TROUBLE_SECONDS = 1.0
_AWAKE_MILLISECONDS = 2000


class Waker:
    """Looks at queues and sends wake-ups. A flag in Redis keeps the number of wake-ups on their way bounded."""

    def __init__(
        self,
        queues: Sequence[queue.Queue],
        redis: Redis,
        wake: Callable[[str], None],
        report: Callable[[Exception], None],
    ) -> None:
        """`wake` takes the name of a queue and may block; `report` hears of trouble with Redis or the broker."""
        self._queues = queues
        self._redis = redis
        self._wake = wake
        self._report = report
        self._added = asyncio.Event()

    def added(self) -> None:
        """Say that this process has added keys: the next look is now."""
        self._added.set()

    async def run(self) -> None:
        """Look and wake until cancelled. Calls: one for each queue and look, and one for each that is to be woken."""
        while True:
            self._added.clear()
            try:
                pause = min([await self._look(each) for each in self._queues])
            except (RedisError, OSError) as error:
                self._report(error)
                await asyncio.sleep(_TROUBLE_SECONDS)
                continue
            if pause <= _BUSY_SECONDS:
                await asyncio.sleep(_BUSY_SECONDS)
                continue
            # asyncio.wait_for of Python 3.11 may forget a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._added.wait()

    async def _look(self, each: queue.Queue) -> float:
        """Wake the queue's workers where a key is due; return seconds to the next look."""
        found = await each.outlook()
        metrics.QUEUE_DEPTH.labels(each.name).set(found.waiting)
        if found.due is not None and found.due <= 0:
            if await self._redis.set(awake_key(each.name), 1, nx=True, px=_AWAKE_MILLISECONDS):
                await asyncio.to_thread(self._wake, each.name)
            return _BUSY_SECONDS
        if found.working:
            return _BUSY_SECONDS
        return _REST_SECONDS if found.due is None else min(found.due, _REST_SECONDS)


def awake_key(name: str) -> str:
    """Return the Redis key that says that a wake-up for a queue is on its way."""
    return f"grovekeeper:{{{name}}}:awake"
