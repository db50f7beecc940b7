"""The dispatcher: from watch events to keys in the queue, and from due keys to wake-ups."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from redis import RedisError
from redis.asyncio import Redis

from grovekeeper.api import names, raw
from grovekeeper.expand import gangs, parse
from grovekeeper.kube import informer, resources, store
from grovekeeper.placement import shape
from grovekeeper.reconciler import budgets, context, deviceevents, handed, keys, mapping, waking
from grovekeeper.runtime import queue

_LOG = logging.getLogger(__name__)
_LEVELS_DELAY = 1.0
"""From a change of node labels to a look at the bindings: nodes that join together are looked at together."""
_EPOCH = "grovekeeper:epoch"
_NAMED = {
    "clique": resources.PODCLIQUES,
    "group": resources.SCALINGGROUPS,
    "gang": resources.PODGANGS,
    "binding": resources.TOPOLOGY_BINDINGS,
}
"""Kinds of keys that name an object of one kind; those of sets name their kind themselves."""


class Dispatcher:
    """Collects keys from informers, writes them to Redis in batches, and wakes workers."""

    def __init__(
        self, ctx: context.Context, redis: Redis, wake: Callable[[str], None], informers: Iterable[informer.Informer]
    ) -> None:
        self._ctx = ctx
        self._redis = redis
        self._waker = waking.Waker([ctx.work, ctx.placement], redis, wake, self._report)
        self._pending: dict[tuple[str, str], queue.Addition] = {}
        """By key and kind: a worker must have seen every kind that made the key dirty."""
        self._some = asyncio.Event()
        self.trouble: str | None = None
        for each in informers:
            self._follow(each)

    def _follow(self, each: informer.Informer) -> None:
        plural = each.resource.plural
        if plural == "clustertopologybindings":
            each.add_handler(self._on_topology)
            return
        if plural == "resourceclaimtemplates":
            each.add_handler(self._on_claim_template)
            return
        if plural == "nodes":
            each.add_handler(self._on_lost_node)
            each.add_handler(self._on_labels)
        if plural == "poddisruptionbudgets":
            each.add_handler(self._on_foreign_budget)
        self._map(each, plural, mapping.MAPPERS[plural])

    def follow_foreign(self, mark: str, each: informer.Informer) -> None:
        """Follow a kind of another scheduler's, known to workers by its mark."""
        self._map(each, mark, partial(handed.MAPPERS[each.resource.plural], self._ctx))

    def _map(
        self,
        each: informer.Informer,
        plural: str,
        mapper: Callable[[raw.Object | None, raw.Object | None], mapping.Keyed],
    ) -> None:
        def handle(old: raw.Object | None, new: raw.Object | None) -> None:
            obj = new or old
            version = store.version_of(obj) if obj is not None else 0
            for key, delay in mapper(old, new):
                self._put(queue.Addition(key, delay, plural, version))
                self._put_named(key, delay, plural)

        each.add_handler(handle)

    def _put_named(self, key: str, delay: float, plural: str) -> None:
        """Have the worker see the object that the key names as it is here: it may take the key for another's change.

        Without this a worker that has not heard of a PodClique's end makes pods for it whenever one of them goes.
        """
        stores = self._ctx.stores
        parsed = keys.parse(key)
        resource = _NAMED.get(parsed.kind) or resources.SETS.get(parsed.owner_kind)
        if resource is not None and resource.plural != plural:
            version = stores.of(resource).version_at(parsed.namespace, parsed.name)
            if version:
                self._put(queue.Addition(key, delay, resource.plural, version))

    def _on_topology(self, old: raw.Object | None, new: raw.Object | None) -> None:
        obj = new or old
        if obj is None:
            return
        if old is not None and new is not None and old.get("spec") == new.get("spec"):
            return
        name = obj["metadata"]["name"]
        # Of all: one may contradict another.
        self._judge_levels(0.0, "clustertopologybindings", store.version_of(obj))
        for found in [*self._ctx.stores.sets.all(), *self._ctx.stores.clique_sets.all()]:
            if gangs.topology_name(parse.workload(found)) == name:
                metadata = found["metadata"]
                self._put(queue.Addition(keys.set_status(found["kind"], metadata["namespace"], metadata["name"]), 0.05))
        self._put(queue.Addition(keys.ROOM, mapping.ROOM_DELAY))

    def _on_labels(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Have the bindings looked at when the domains that nodes are in may have changed."""
        if old is None or new is None or old["metadata"].get("labels") != new["metadata"].get("labels"):
            self._judge_levels(_LEVELS_DELAY, "nodes", store.version_of(new or old or {}))

    def _judge_levels(self, delay: float, plural: str, version: int) -> None:
        for binding in self._ctx.stores.topologies.all():
            key = keys.binding(binding["metadata"]["name"])
            self._put(queue.Addition(key, delay, plural, version))
            self._put_named(key, delay, plural)

    def _on_claim_template(self, old: raw.Object | None, new: raw.Object | None) -> None:
        if old is None and new is not None:
            for key in deviceevents.waiting_for(self._ctx.stores, new):
                self._put(queue.Addition(key, 0.0, "resourceclaimtemplates", store.version_of(new)))

    def _on_lost_node(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Have the cliques looked at that have pods on a node that is gone, no longer ready, or cordoned (or not)."""
        if old is None or (new is not None and shape.ready(old) == shape.ready(new) and _closed(old) == _closed(new)):
            return
        version = store.version_of(new) if new is not None else 0
        for pod in self._ctx.stores.pods.by_index("node", old["metadata"]["name"]):
            clique = (pod["metadata"].get("labels") or {}).get(names.LABEL_PODCLIQUE)
            if clique is not None:
                self._put(queue.Addition(keys.clique(pod["metadata"]["namespace"], clique), 0.0, "nodes", version))

    def _on_foreign_budget(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Have the cliques of the namespace looked at: their pods may be selected by it now, or no longer."""
        obj = new or old
        if obj is None or budgets.is_ours(obj) or (old is not None and new is not None and mapping.same_spec(old, new)):
            return
        for clique in self._ctx.stores.cliques.all():
            metadata = clique["metadata"]
            if metadata["namespace"] == obj["metadata"]["namespace"]:
                key = keys.clique(metadata["namespace"], metadata["name"])
                self._put(queue.Addition(key, 0.0, "poddisruptionbudgets", store.version_of(obj)))

    def _put(self, addition: queue.Addition) -> None:
        mark = addition.key, addition.plural
        known = self._pending.get(mark)
        if known is not None:
            delay, version = min(known.delay, addition.delay), max(known.version, addition.version)
            addition = queue.Addition(addition.key, delay, addition.plural, version)
        self._pending[mark] = addition
        self._some.set()

    def resync(self) -> None:
        """Put every set, replica, group, clique and gang in the queue: the net under everything else."""
        for found in [*self._ctx.stores.sets.all(), *self._ctx.stores.clique_sets.all()]:
            metadata = found["metadata"]
            self._put(queue.Addition(keys.set_key(found["kind"], metadata["namespace"], metadata["name"])))
        for obj in self._ctx.stores.groups.all():
            self._put(queue.Addition(keys.group(obj["metadata"]["namespace"], obj["metadata"]["name"])))
        for obj in self._ctx.stores.cliques.all():
            self._put(queue.Addition(keys.clique(obj["metadata"]["namespace"], obj["metadata"]["name"])))
            for key, _delay in mapping.gang_keys(obj["metadata"]):
                self._put(queue.Addition(key))
        for obj in self._ctx.stores.gangs.all():
            self._put(queue.Addition(keys.gang(obj["metadata"]["namespace"], obj["metadata"]["name"])))
        for obj in self._ctx.stores.topologies.all():
            self._put(queue.Addition(keys.binding(obj["metadata"]["name"])))
        self._put(queue.Addition(keys.ROOM))

    async def run(self) -> None:
        """Write, wake and resync until cancelled. Without Redis keys are kept here, and a resync follows."""
        await asyncio.gather(self._write(), self._waker.run(), self._resync())

    async def _write(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(0.005)
            try:
                await self.flush()
                self._waker.added()
                self.trouble = None
            except RedisError as error:
                self._report(error)
                await asyncio.sleep(1.0)

    async def flush(self) -> None:
        """Write what has been collected to the queues; where Redis does not answer it is kept for the next time."""
        self._some.clear()
        batch, self._pending = self._pending, {}
        try:
            await self._ctx.work.add(a for a in batch.values() if not _placement(a.key))
            await self._ctx.placement.add(a for a in batch.values() if _placement(a.key))
        except RedisError:
            for addition in batch.values():
                self._put(addition)
            raise

    async def _resync(self) -> None:
        waited = 0.0
        while True:
            try:
                if not await self._redis.exists(_EPOCH):
                    # Redis is new or has been emptied: everything that was queued is lost.
                    self.resync()
                    await self._redis.set(_EPOCH, 1)
                    waited = 0.0
                elif waited >= self._ctx.settings.reconcile.resync_seconds:
                    self.resync()
                    waited = 0.0
            except RedisError as error:
                self._report(error)
            await asyncio.sleep(1.0)
            waited += 1.0

    def _report(self, error: Exception) -> None:
        text = f"Redis does not answer ({error}): check redis_url and that Redis runs; nothing is lost"
        if self.trouble != text:
            _LOG.warning(text)
        self.trouble = text


def _closed(node: raw.Object) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))


def _placement(key: str) -> bool:
    return key == keys.ROOM or key.startswith("gang:")
