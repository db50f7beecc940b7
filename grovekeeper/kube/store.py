"""The objects of one kind by namespace and name, with indexes, and how far a watch has brought them.

Readers get the stored objects themselves, not copies, and must not change them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from grovekeeper.api import raw

Key = tuple[str, str]
Index = Callable[[raw.Object], Iterable[str]]
Change = tuple[raw.Object | None, raw.Object | None]


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
            # asyncio.wait_for of Python 3.11 may forget a cancellation.
            async with asyncio.timeout(timeout):
                await entry[1]
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


def _apart(old: raw.Object | None, new: raw.Object) -> list[Change]:
    """Return a change; two where a namesake has come while nobody was watching: the end of one, and a beginning."""
    if old is None or old["metadata"].get("uid") == new["metadata"].get("uid"):
        return [(old, new)]
    return [(old, None), (None, new)]


def _key(obj: raw.Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]
