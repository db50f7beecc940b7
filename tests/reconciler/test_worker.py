"""Drains: as many at once as they may be, and no key left lying by the wake-ups that were turned away."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from grovekeeper.reconciler import keys, worker
from grovekeeper.reconciler.context import Result
from grovekeeper.runtime import queue
from tests.reconciler import world


class Keys:
    """A queue in memory whose answers can be held back."""

    name = "placement"

    def __init__(self, *due: str) -> None:
        self.due = list(due)
        self.open = asyncio.Event()
        self.open.set()

    async def take(self, limit: int) -> list[queue.Item]:
        taken, self.due = self.due[:limit], self.due[limit:]
        await self.open.wait()
        return [queue.Item(key, {}) for key in taken]

    async def done(self, outcomes: Iterable[queue.Outcome]) -> int:
        return len(self.due)


def drain(due: Keys, handle: Any, at_once: int) -> worker.Drain:
    async def delete(_key: str) -> None:
        """Forget that a wake-up is on its way."""

    ctx = world.World(batch=1).ctx
    return worker.Drain(ctx, due, SimpleNamespace(delete=delete), handle, at_once=at_once)  # type: ignore[arg-type]


async def test_wake_ups_beyond_what_may_run_return_at_once_and_leave_the_keys_to_those_that_run() -> None:
    due = Keys(*(f"clique:ns/{number}" for number in range(6)))
    running, most, seen = 0, 0, []

    async def handle(key: keys.Key) -> Result:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        seen.append(key.name)
        return Result()

    busy = drain(due, handle, 2)
    await asyncio.gather(*(busy.run() for _ in range(9)))
    assert most == 2
    assert sorted(seen) == [str(number) for number in range(6)]


async def test_a_key_that_comes_while_the_last_look_is_on_its_way_is_not_left_lying() -> None:
    """The wake-up for it is turned away, so the drain that runs has to look once more."""
    due = Keys()
    due.open.clear()
    seen = []

    async def handle(key: keys.Key) -> Result:
        seen.append(key.name)
        return Result()

    busy = drain(due, handle, 1)
    first = asyncio.create_task(busy.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    due.due.append("clique:ns/late")
    await busy.run()
    assert seen == []
    due.open.set()
    await first
    assert seen == ["late"]


async def test_the_end_of_a_drain_is_waited_for_until_its_last_key_is_done() -> None:
    """Who lets go of a Lease before has writes on their way when the next owner begins."""
    due = Keys("gang:ns/slow")
    answered = asyncio.Event()

    async def handle(key: keys.Key) -> Result:
        await answered.wait()
        return Result()

    busy = drain(due, handle, 1)
    await busy.ended()
    run = asyncio.create_task(busy.run())
    await asyncio.sleep(0)
    end = asyncio.create_task(busy.ended())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not end.done()
    answered.set()
    await run
    await end
