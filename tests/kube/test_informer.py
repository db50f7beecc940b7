"""Optional kinds: an empty cache that holds nothing up, until discovery shows the kind."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from grovekeeper.api import raw
from grovekeeper.kube import client, discovery, errors, informer, resources

DOMAINS = resources.COMPUTE_DOMAINS


class Server:
    """A client of a server that may or may not have a kind."""

    def __init__(self) -> None:
        self.served = False
        self.asked = 0
        self.lists = 0
        self.items: list[raw.Object] = []

    async def has(self, resource: resources.Resource) -> bool:
        assert resource is DOMAINS
        self.asked += 1
        return self.served

    async def list(self, resource: resources.Resource, *, labels: str, fields: str) -> client.Page:
        self.lists += 1
        if not self.served:
            raise errors.NotFound("no such kind")
        return client.Page(list(self.items), "7")

    async def watch(
        self, resource: resources.Resource, *, resource_version: str, labels: str, fields: str
    ) -> AsyncIterator[client.WatchEvent]:
        while self.served:
            await asyncio.sleep(0.001)
        raise errors.NotFound("no such kind")
        yield


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "SECONDS", 0.01)


async def until(check: object) -> None:
    for _ in range(500):
        if check():  # type: ignore[operator]  # a function
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


async def test_an_optional_kind_comes_and_goes_while_everybody_else_works() -> None:
    server = Server()
    told: list[tuple[raw.Object | None, raw.Object | None]] = []
    found = informer.Informer(server, DOMAINS, optional=True, on_event=lambda o, n: told.append((o, n)))  # type: ignore[arg-type]
    job = asyncio.create_task(found.run())
    await asyncio.wait_for(found.synced.wait(), 2)
    assert (found.store.served, found.store.all(), server.lists) == (False, [], 0)
    assert found.error is None
    domain = {"metadata": {"name": "d", "namespace": "ns", "resourceVersion": "5"}}
    server.items, server.served = [domain], True
    await until(lambda: found.store.get("ns", "d") is not None)
    assert found.store.served
    server.served = False
    await until(lambda: not found.store.served)
    assert found.store.all() == []
    assert told == [(None, domain), (domain, None)]
    assert found.store.version < 100, "a kind that comes back is waited for as ever"
    job.cancel()


async def test_discovery_knows_nothing_until_it_has_an_answer() -> None:
    server = Server()
    found = discovery.Discovery(server, [DOMAINS])  # type: ignore[arg-type]
    assert found.has(DOMAINS) is None
    job = asyncio.create_task(found.run())
    await until(lambda: found.has(DOMAINS) is False)
    server.served = True
    await until(lambda: found.has(DOMAINS) is True)
    job.cancel()
