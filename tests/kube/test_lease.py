"""A Lease that cannot be renewed is not held any more, before anybody says so."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest

from grovekeeper.api import raw
from grovekeeper.kube import errors, lease


class Server:
    """Keeps one Lease; answers nothing while it is away."""

    def __init__(self) -> None:
        self.stored: raw.Object | None = None
        self.version = 0
        self.back = asyncio.Event()
        self.back.set()
        self.asked = 0

    async def get(self, _resource: Any, name: str, _namespace: str) -> raw.Object:
        self.asked += 1
        await self.back.wait()
        if self.stored is None:
            raise errors.NotFound(name)
        return copy.deepcopy(self.stored)

    async def create(self, resource: Any, obj: raw.Object) -> raw.Object:
        return await self.replace(resource, obj)

    async def replace(self, _resource: Any, obj: raw.Object) -> raw.Object:
        self.version += 1
        self.stored = copy.deepcopy(obj)
        self.stored["metadata"]["resourceVersion"] = str(self.version)
        return self.stored


class Clock:
    """Stands still until it is moved."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.001)


async def test_a_holder_that_could_not_renew_in_time_no_longer_holds_the_lease_though_nobody_told_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, server = Clock(), Server()
    monkeypatch.setattr(lease, "monotonic", clock)
    election = lease.Election(server, "ns", "placement", "me", duration=0.3)  # type: ignore[arg-type]
    assert election.left() == 0
    leads = asyncio.Event()

    async def lead() -> None:
        leads.set()
        await asyncio.Event().wait()

    job = asyncio.create_task(election.run(lead))
    await leads.wait()
    assert election.left() == 0.3
    clock.seconds += 0.15
    assert 0 < election.left() < 0.2
    await until(lambda: election.left() == 0.3)  # it has been renewed
    server.back.clear()
    before = server.asked
    clock.seconds += 0.25
    await until(lambda: server.asked > before)
    assert election.leading, "the renewal still waits for its answer"
    assert election.left() == 0
    server.back.set()
    await until(lambda: election.left() > 0)  # the answer came, and nobody else had taken it
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
