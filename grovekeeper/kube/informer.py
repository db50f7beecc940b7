"""Informers: a list and a watch that keep a store of one kind up to date, forever.

Readers get the stored objects themselves, not copies, and must not change them.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Mapping

from grovekeeper.api import raw
from grovekeeper.kube import discovery, errors, store
from grovekeeper.kube.client import Client
from grovekeeper.kube.resources import Resource

_LOG = logging.getLogger(__name__)

Handler = Callable[[raw.Object | None, raw.Object | None], None]
"""Called with the old and the new object: (None, new) added, (old, new) changed, (old, None) deleted."""


class Informer:
    """Keeps a Store up to date from a list and a watch."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        labels: str = "",
        fields: str = "",
        indexes: Mapping[str, store.Index] | None = None,
        on_event: Handler | None = None,
        optional: bool = False,
    ) -> None:
        """Prepare; `optional` is for kinds that a cluster may lack: discovery is asked for them, quietly."""
        self.resource = resource
        self._optional = optional
        self.store = store.Store(indexes)
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
            last = max((store.version_of(obj) for obj in self.store.all()), default=self.store.version)
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
                self.store.advance(store.version_of(obj))

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
