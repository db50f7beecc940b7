"""Objects, one counter of versions, and watches that can be resumed."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from grovekeeper.api import raw

HISTORY = 20_000
Collection = tuple[str, str]
"""API group and plural."""
Key = tuple[str, str]
"""Namespace and name."""


@dataclass(slots=True)
class Watch:
    """One open watch: events wait in `queue` until they are sent."""

    collection: Collection
    matches: Callable[[raw.Object], bool]
    queue: "asyncio.Queue[tuple[str, raw.Object]]" = field(default_factory=asyncio.Queue)


class TooOldError(Exception):
    """The version to resume from is no longer in the history."""


class Storage:
    """Everything that the cluster knows. Stored objects are never changed in place: each write stores a new one."""

    def __init__(self) -> None:
        self.version = 1
        self._objects: dict[Collection, dict[Key, raw.Object]] = {}
        self._history: dict[Collection, deque[tuple[int, str, raw.Object, raw.Object | None]]] = {}
        self._watches: dict[Collection, list[Watch]] = {}
        self.listeners: list[Callable[[Collection, str, raw.Object, raw.Object | None], None]] = []

    def get(self, collection: Collection, key: Key) -> raw.Object | None:
        """Return one object, or None."""
        return self._objects.get(collection, {}).get(key)

    def all(self, collection: Collection, namespace: str = "") -> list[raw.Object]:
        """Return the objects of a collection, sorted by key as etcd does."""
        found = self._objects.get(collection, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def collections(self) -> list[Collection]:
        """Return the collections that hold anything."""
        return [collection for collection, objects in self._objects.items() if objects]

    def put(self, collection: Collection, obj: raw.Object) -> raw.Object:
        """Store an object under the next version and tell the watches."""
        key = _key(obj)
        self.version += 1
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        old = self._objects.setdefault(collection, {}).get(key)
        self._objects[collection][key] = stored
        self._tell(collection, "MODIFIED" if old is not None else "ADDED", stored, old)
        return stored

    def remove(self, collection: Collection, obj: raw.Object) -> raw.Object:
        """Remove an object; its last version carries the version of the removal."""
        self.version += 1
        gone = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        old = self._objects[collection].pop(_key(obj))
        self._tell(collection, "DELETED", gone, old)
        return gone

    def watch(self, collection: Collection, since: int, matches: Callable[[raw.Object], bool]) -> Watch:
        """Open a watch that begins after a version; raises TooOldError."""
        history = self._history.get(collection, deque())
        if since and len(history) == HISTORY and history[0][0] > since + 1:
            raise TooOldError
        watch = Watch(collection, matches)
        for version, kind, obj, old in history:
            if version > since:
                _offer(watch, kind, obj, old)
        self._watches.setdefault(collection, []).append(watch)
        return watch

    def close(self, watch: Watch) -> None:
        """End a watch."""
        self._watches[watch.collection].remove(watch)

    def _tell(self, collection: Collection, kind: str, obj: raw.Object, old: raw.Object | None) -> None:
        history = self._history.setdefault(collection, deque(maxlen=HISTORY))
        history.append((self.version, kind, obj, old))
        for watch in self._watches.get(collection, ()):
            _offer(watch, kind, obj, old)
        for listener in self.listeners:
            listener(collection, kind, obj, old)


def _offer(watch: Watch, kind: str, obj: raw.Object, old: raw.Object | None) -> None:
    """Send an event in the watch's own terms: an object that leaves its selector is DELETED to it."""
    now = watch.matches(obj)
    before = old is not None and watch.matches(old)
    if kind == "DELETED":
        if now or before:
            watch.queue.put_nowait(("DELETED", obj))
    elif now:
        watch.queue.put_nowait(("MODIFIED" if before else "ADDED", obj))
    elif before:
        watch.queue.put_nowait(("DELETED", obj))


def _key(obj: raw.Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
