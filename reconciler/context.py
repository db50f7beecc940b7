"""What every reconciler works with: the client, the caches, the queues, the clock."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from grovekeeper.api import names, raw
from grovekeeper.expand import model, parse
from grovekeeper.kube import events, resources
from grovekeeper.kube.http import HttpClient
from grovekeeper.reconciler import arrivals, caches, keys, kinds
from grovekeeper.runtime import queue
from grovekeeper.runtime.clock import Clock
from grovekeeper.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconcile wants next: to be run again after so many seconds, or nothing."""

    requeue_after: float | None = None


class Permanent(Exception):
    """Trouble that trying again cannot mend; logged once, woken by the next event."""


@dataclass(slots=True)
class Context:
    """Everything that a reconciler may use."""

    client: HttpClient
    stores: caches.Stores
    work: queue.Queue
    placement: queue.Queue
    clock: Clock
    events: events.Recorder
    settings: Settings
    foreign: kinds.Caches = field(default_factory=kinds.Caches)
    """Caches of the kinds of other schedulers."""
    written: dict[str, float] = field(default_factory=dict)
    """Time (seconds) of this process's last status write, by UID: what is coming up is not written at every step."""
    pending: dict[str, tuple[raw.Object, float]] = field(default_factory=dict)
    """What was not written yet, and since when it has been the same, by UID."""
    coming: arrivals.Arrivals = field(default_factory=arrivals.Arrivals)
    tokens: dict[str, float] = field(default_factory=dict)
    """Time (seconds) at which a set's token Secret was last created or found there, by UID of the set."""
    cordoned: dict[str, float] = field(default_factory=dict)
    """Time (seconds) at which a cordoned node was first seen so, by name."""
    _workloads: dict[str, tuple[str, model.Workload]] = field(default_factory=dict)

    def workload(self, obj: raw.Object) -> model.Workload:
        """Return the parsed set; parsed once per resourceVersion of its spec."""
        metadata = obj["metadata"]
        mark = f"{metadata.get('generation')}/{metadata.get('resourceVersion')}"
        known = self._workloads.get(metadata["uid"])
        if known is not None and known[0] == mark:
            return known[1]
        workload = parse.workload(obj)
        if len(self._workloads) > 5000:
            self._workloads.clear()
        self._workloads[metadata["uid"]] = (mark, workload)
        return workload

    def find_set(self, kind: str, namespace: str, name: str) -> raw.Object | None:
        """Return a set from the cache."""
        return self.stores.of(resources.SETS[kind]).get(namespace, name)

    def set_of(self, obj: raw.Object) -> raw.Object | None:
        """Return the living set that a child belongs to, by its labels; None while it is gone or going."""
        metadata = obj["metadata"]
        labels = metadata.get("labels") or {}
        part_of = labels.get(names.LABEL_PART_OF)
        if part_of is None:
            return None
        for dialect in names.DIALECTS.values():
            if dialect.label_replica_index in labels:
                found = self.find_set(dialect.kind, metadata["namespace"], part_of)
                if found is not None and not found["metadata"].get("deletionTimestamp"):
                    return found
        return None

    async def enqueue(self, *wanted: str, delay: float = 0.0) -> None:
        """Put keys in the queue that their kind belongs to."""
        mine = [queue.Addition(key, delay) for key in wanted if not _is_placement(key)]
        theirs = [queue.Addition(key, delay) for key in wanted if _is_placement(key)]
        await self.work.add(mine)
        await self.placement.add(theirs)


Reconcile = Callable[[Context, keys.Key], Awaitable[Result]]


def _is_placement(key: str) -> bool:
    return key == keys.ROOM or key.startswith("gang:")
