"""A Lease that cannot be renewed is not held any more, before anybody says so."""

import asyncio
import copy
from typing import Any

from grovekeeper.api import raw
from grovekeeper.kube import errors, lease


class Server:
    """Keeps one Lease; answers nothing while it is away."""

    def __init__(self) -> None:
        self.stored: raw.Object | None = None
        self.version = 0
        self.back = asyncio.Event()
        self.back.set()

    async def get(self, _resource: Any, name: str, _namespace: str) -> raw.Object:
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


async def test_a_holder_that_could_not_renew_in_time_no_longer_holds_the_lease_though_nobody_told_it() -> None:
    server = Server()
    election = lease.Election(server, "ns", "placement", "me", duration=0.3)  # type: ignore[arg-type]
    assert election.left() == 0
    leads = asyncio.Event()

    async def lead() -> None:
        leads.set()
        await asyncio.Event().wait()

    job = asyncio.create_task(election.run(lead))
    await leads.wait()
    assert 0.2 < election.left() <= 0.3
    await asyncio.sleep(0.25)
    assert election.left() > 0, "it has been renewed meanwhile"
    server.back.clear()
    await asyncio.sleep(0.25)
    assert election.leading, "the renewal still waits for its answer"
    assert election.left() == 0
    server.back.set()
    await asyncio.sleep(0.1)
    assert election.left() > 0, "the answer came, and nobody else had taken it"
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
