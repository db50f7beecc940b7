"""Informers: a list and a watch that keep a store of one kind up to date, forever.

Readers get the stored objects themselves, not copies, and must not change them.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Mapping

from grovekeeper.api import raw
from grovekeeper.kube import discovery, errors
from grovekeeper.kube.client import Client
from grovekeeper.kube.resources import Resource

_LOG = logging.getLogger(__name__)

Key = tuple[str, str]
Index = Callable[[raw.Object], Iterable[str]]
Change = tuple[raw.Object | None, raw.Object | None]
Handler = Callable[[raw.Object | None, raw.Object | None], None]
"""Called with the old and the new object: (None, new) added, (old, new) changed, (old, None) deleted."""


def version_of(obj: raw.Object) -> int:
    """Return the resourceVersion as a number; Kubernetes promises since 1.35 that they can be compared."""
    text = obj["metadata"].get("resourceVersion") or "0"
    return int(text) if text.isdigit() else 0


class Store:
    """Objects by namespace and name, with indexes."""

    def __init__(self, indexes: Mapping[str, Index] | None = None) -> None:
        self._objects: dict[Key, raw.Object] = {}
        self._functions = dict(indexes or {})
        self._indexes: dict[str, dict[str, dict[Key, raw.Object]]] = {name: {} for name in self._functions}
        self._buried: dict[Key, tuple[str, int]] = {}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.served = True
        """Whether the server has the kind, as far as is known: an optional kind's informer finds out."""
        self.version = 0
        """Highest resourceVersion that the watch has reached."""

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, namespace: str | None, name: str) -> raw.Object | None:
        """Return one object, or None."""
        return self._objects.get((namespace or "", name))

    def version_at(self, namespace: str | None, name: str) -> int:
        """Return the resourceVersion of what has this name, or with which it went; 0 where nothing is known of it."""
        key = (namespace or "", name)
        known = self._objects.get(key)
        return version_of(known) if known is not None else self._buried.get(key, ("", 0))[1]

    def all(self) -> list[raw.Object]:
        """Return all objects."""
        return list(self._objects.values())

    def by_index(self, index: str, value: str) -> list[raw.Object]:
        """Return the objects that have this value in an index."""
        return list(self._indexes[index].get(value, {}).values())

    def observe(self, obj: raw.Object) -> raw.Object | None:
        """Store an object if it is newer than what is known, and return what was known before.

        Called by the watch, and by a writer with the server's answer, so that a process sees its own writes at once.
        """
        key = _key(obj)
        known = self._objects.get(key)
        if known is not None and version_of(known) >= version_of(obj):
            return known
        buried = self._buried.get(key)
        if buried is not None and (buried[0] == obj["metadata"].get("uid") or version_of(obj) <= buried[1]):
            return known
        self._put(key, known, obj)
        return known

    def observe_deleted(self, obj: raw.Object) -> raw.Object | None:
        """Forget an object that is gone; later news of the same uid are ignored. Return what was known."""
        key = _key(obj)
        known = self._objects.get(key)
        self._bury(key, obj["metadata"].get("uid", ""), version_of(obj))
        if known is not None and known["metadata"].get("uid") == obj["metadata"].get("uid"):
            self._put(key, known, None)
            return known
        return None

    def follow(self, obj: raw.Object, *, gone: bool = False) -> list[Change]:
        """Take in an event of the watch and return what handlers are to hear of it.

        A writer of this process may have stored this version before, or a newer one: handlers hear of it here, and
        never of an older one than the cache has. They keep what they know by uid, so they hear of an end also where
        the cache has a namesake already.
        """
        if gone:
            return [(self.observe_deleted(obj) or obj, None)]
        known = self.observe(obj)
        return _apart(known, known if known is not None and version_of(known) > version_of(obj) else obj)

    def replace(self, objects: Iterable[raw.Object], version: int) -> list[Change]:
        """Take a whole list as the truth and return the changes."""
        changes: list[Change] = []
        fresh = {_key(obj): obj for obj in objects}
        for key, known in list(self._objects.items()):
            if key not in fresh and version_of(known) <= version:
                self._put(key, known, None)
                # The answer to a write of before may still be on its way.
                self._bury(key, known["metadata"].get("uid", ""), version)
                changes.append((known, None))
        for key, obj in fresh.items():
            before = self._objects.get(key)
            if before is None or version_of(before) < version_of(obj):
                self._buried.pop(key, None)
                self._put(key, before, obj)
                changes += _apart(before, obj)
            elif version_of(before) == version_of(obj) > self.version:
                changes.append((before, obj))  # a writer has stored it, and the watch ended before it told anybody
        self.advance(version)
        return changes

    def advance(self, version: int) -> None:
        """Note that the watch has reached a version, and wake whoever waits for it."""
        if version <= self.version:
            return
        self.version = version
        ready = [future for wanted, future in self._waiting if wanted <= version]
        self._waiting = [(wanted, future) for wanted, future in self._waiting if wanted > version]
        for future in ready:
            if not future.done():
                future.set_result(None)

    def _bury(self, key: Key, uid: str, version: int) -> None:
        self._buried[key] = uid, version
        if len(self._buried) > 20_000:
            self._buried.pop(next(iter(self._buried)))

    async def reached(self, version: int, timeout: float) -> bool:  # noqa: ASYNC109 - a bounded wait is the contract
        """Wait until the watch has reached a version; return whether it did in time."""
        if version <= self.version:
            return True
        entry = version, asyncio.get_running_loop().create_future()
        self._waiting.append(entry)
        try:
            await asyncio.wait_for(entry[1], timeout)
        except TimeoutError:
            # A watch that is held up for long is waited for again and again.
            self._waiting = [each for each in self._waiting if each is not entry]
            return False
        return True

    def _put(self, key: Key, old: raw.Object | None, new: raw.Object | None) -> None:
        if new is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = new
        for name, function in self._functions.items():
            index = self._indexes[name]
            for value in function(old) if old is not None else ():
                bucket = index.get(value)
                if bucket is not None:
                    bucket.pop(key, None)
                    if not bucket:
                        del index[value]
            for value in function(new) if new is not None else ():
                index.setdefault(value, {})[key] = new  # type: ignore[assignment]  # new is not None here


class Informer:
    """Keeps a Store up to date from a list and a watch."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        labels: str = "",
        fields: str = "",
        indexes: Mapping[str, Index] | None = None,
        on_event: Handler | None = None,
        optional: bool = False,
    ) -> None:
        """Prepare; `optional` is for kinds that a cluster may lack: discovery is asked for them, quietly."""
        self.resource = resource
        self._optional = optional
        self.store = Store(indexes)
        self.synced = asyncio.Event()
        self.error: str | None = None
        self.served = False
        """Whether the API server has the kind, as far as the last list or watch knows."""
        self.on_served: list[Callable[[], None]] = []
        """Called each time the kind has become available."""
        self._client = client
        self._labels = labels
        self._fields = fields
        self._handlers: list[Handler] = [on_event] if on_event else []

    def add_handler(self, handler: Handler) -> None:
        """Call a handler with every change from now on."""
        self._handlers.append(handler)

    async def run(self) -> None:
        """List and watch until cancelled; trouble is waited out with growing pauses."""
        pause = 0.05
        while True:
            try:
                if self._optional and not await self._is_served():
                    await asyncio.sleep(discovery.SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads calls
                    continue
                await self._list()
                pause = 0.05
                await self._watch()
            except errors.Gone:
                continue
            except errors.KubeError as error:
                self.served = self.served and not isinstance(error, errors.NotFound)
                self._report(error)
            except Exception as error:
                # A fault of ours, or an answer that is no API server's: a cache that stopped would go unnoticed.
                self.error = repr(error)
                _LOG.exception("watch of %s failed", self.resource.plural)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads reconnects
            pause = min(pause * 2, 10.0)

    async def _is_served(self) -> bool:
        """Ask discovery; a kind that is not there is an empty cache, ready to use."""
        served = await self._client.has(self.resource)
        if not served:
            last = max((version_of(obj) for obj in self.store.all()), default=self.store.version)
            for old, new in self.store.replace((), last):
                self._tell(old, new)
            self.synced.set()
        if served != self.store.served and self.synced.is_set():
            _LOG.info("%s are %s", self.resource.plural, "served now" if served else "not served")
        self.store.served = served
        return served

    def _report(self, error: errors.KubeError) -> None:
        """Say each trouble once, not at every try."""
        if self._optional and isinstance(error, errors.NotFound):
            return
        text = str(error)
        if text != self.error:
            _LOG.warning("watch of %s interrupted: %s", self.resource.plural, text)
        self.error = text

    async def _list(self) -> None:
        page = await self._client.list(self.resource, labels=self._labels, fields=self._fields)
        for item in page.items:
            item["metadata"].pop("managedFields", None)
        for old, new in self.store.replace(page.items, int(page.resource_version)):
            self._tell(old, new)
        self.error = None
        self.synced.set()
        if not self.served:
            self.served = True
            for tell in self.on_served:
                tell()

    async def _watch(self) -> None:
        while True:
            version = str(self.store.version)
            events = self._client.watch(
                self.resource, resource_version=version, labels=self._labels, fields=self._fields
            )
            async for event in events:
                obj = event.object
                obj["metadata"].pop("managedFields", None)
                if event.type != "BOOKMARK":
                    for old, new in self.store.follow(obj, gone=event.type == "DELETED"):
                        self._tell(old, new)
                self.store.advance(version_of(obj))

    def _tell(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Tell all handlers; one that fails at one object hears of the others all the same: nobody tells it again."""
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:
                name = (new or old or {})["metadata"].get("name")
                _LOG.exception("a change of %s %s was not taken in", self.resource.plural, name)


class Informers:
    """Several informers, started and stopped together. Nobody waits for optional ones: their kinds may never come."""

    def __init__(self, informers: Iterable[Informer], optional: Iterable[Informer] = ()) -> None:
        self.all = list(informers)
        self._optional = list(optional)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all and wait until each has its first list."""
        self._tasks = [asyncio.create_task(informer.run()) for informer in [*self.all, *self._optional]]
        await asyncio.gather(*(informer.synced.wait() for informer in self.all))

    async def stop(self) -> None:
        """Cancel all."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def problems(self) -> dict[str, str]:
        """Return what is missing for readiness: name to a sentence."""
        result = {}
        for informer in self.all:
            if not informer.synced.is_set():
                result[f"cache/{informer.resource.plural}"] = informer.error or "the first list has not arrived yet"
        return result


def _apart(old: raw.Object | None, new: raw.Object) -> list[Change]:
    """Return a change; two where a namesake has come while nobody was watching: the end of one, and a beginning."""
    if old is None or old["metadata"].get("uid") == new["metadata"].get("uid"):
        return [(old, new)]
    return [(old, None), (None, new)]


def _key(obj: raw.Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]
