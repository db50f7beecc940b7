"""Optional kinds: an empty cache that holds nothing up, until discovery shows the kind. What handlers are told."""

import asyncio
from collections.abc import AsyncIterator, Callable

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


PODS = resources.PODS


def pod(uid: str, version: int, name: str = "p") -> raw.Object:
    return {"metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version)}}


class Script:
    """A server whose lists and watches are written down: each watch ends in trouble, so that a list follows."""

    def __init__(self, *rounds: tuple[list[raw.Object], list[tuple[str, raw.Object]]]) -> None:
        self.rounds = list(rounds)
        self.version = 0
        self.before: dict[int, Callable[[], object]] = {}
        """Something to run before the event of this resourceVersion."""

    async def list(self, resource: resources.Resource, *, labels: str, fields: str) -> client.Page:
        if not self.rounds:
            await asyncio.Event().wait()
        self.version += 100
        return client.Page(self.rounds[0][0], str(self.version))

    async def watch(
        self, resource: resources.Resource, *, resource_version: str, labels: str, fields: str
    ) -> AsyncIterator[client.WatchEvent]:
        for type_, obj in self.rounds.pop(0)[1]:
            self.before.get(int(obj["metadata"]["resourceVersion"]), lambda: None)()
            yield client.WatchEvent(type_, obj)
        raise errors.Gone("list again")


Told = list[tuple[str | None, str | None]]


async def told_of(server: Script, prepare: Callable[[informer.Informer], None] = lambda each: None) -> Told:
    """What a handler was told: uid and version, before and after."""
    found: Told = []

    def mark(obj: raw.Object | None) -> str | None:
        return None if obj is None else f"{obj['metadata']['uid']}@{obj['metadata']['resourceVersion']}"

    each = informer.Informer(server, PODS, on_event=lambda old, new: found.append((mark(old), mark(new))))  # type: ignore[arg-type]
    prepare(each)
    job = asyncio.create_task(each.run())
    await until(lambda: not server.rounds)
    job.cancel()
    return found


async def test_a_namesake_that_came_while_nobody_watched_is_an_end_and_a_beginning() -> None:
    told = await told_of(Script(([pod("a", 5)], []), ([pod("b", 150)], [])))
    assert told == [(None, "a@5"), ("a@5", None), (None, "b@150")]


async def test_the_end_of_a_pod_is_told_also_where_a_writer_has_stored_its_namesake() -> None:
    server = Script(([pod("a", 5)], [("DELETED", pod("a", 110)), ("ADDED", pod("b", 111))]))

    def prepare(each: informer.Informer) -> None:
        server.before[110] = lambda: each.store.observe(pod("b", 111))

    assert await told_of(server, prepare) == [(None, "a@5"), ("a@110", None), ("b@111", "b@111")]


async def test_handlers_are_told_of_nothing_older_than_the_cache_has() -> None:
    server = Script(([pod("a", 5)], [("MODIFIED", pod("a", 110)), ("MODIFIED", pod("a", 120))]))

    def prepare(each: informer.Informer) -> None:
        server.before[110] = lambda: each.store.observe(pod("a", 120))

    assert await told_of(server, prepare) == [(None, "a@5"), ("a@120", "a@120"), ("a@120", "a@120")]


async def test_what_a_writer_has_stored_is_told_of_also_where_the_watch_ends_before_it() -> None:
    server = Script(([pod("a", 5)], [("MODIFIED", pod("a", 110))]), ([pod("a", 120)], []))

    def prepare(each: informer.Informer) -> None:
        server.before[110] = lambda: each.store.observe(pod("a", 120))

    told = await told_of(server, prepare)
    assert told == [(None, "a@5"), ("a@120", "a@120"), ("a@120", "a@120")]


async def test_a_handler_that_fails_at_one_object_hears_of_the_others() -> None:
    heard: list[str] = []

    def handler(old: raw.Object | None, new: raw.Object | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        if name == "bad":
            raise ValueError(name)
        heard.append(name)

    await told_of(
        Script(([pod("a", 5, "bad"), pod("b", 6, "good")], [("ADDED", pod("c", 110, "bad"))])),
        lambda each: each.add_handler(handler),
    )
    assert heard == ["good"]
