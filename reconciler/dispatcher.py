"""From watch events to keys: which event makes which object worth looking at again."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from redis import RedisError
from redis.asyncio import Redis

from grovekeeper.api import conditions, names, raw
from grovekeeper.expand import gangs, naming, parse, plan
from grovekeeper.kube import informer, resources
from grovekeeper.placement import shape
from grovekeeper.reconciler import budgets, context, deviceevents, handed, keys
from grovekeeper.runtime import metrics, queue

_LOG = logging.getLogger(__name__)
_STATUS_DELAY = 0.5
_ROOM_DELAY = 0.1
_EPOCH = "grovekeeper:epoch"
_NAMED = {"clique": resources.PODCLIQUES, "group": resources.SCALINGGROUPS, "gang": resources.PODGANGS}
"""Kinds of keys that name an object of one kind; those of sets name their kind themselves."""
Keyed = Iterable[tuple[str, float]]
"""Keys with the delay, in seconds, after which they are due."""


def on_set(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A set: its spec, its deletion, or the annotation that asks for a look."""
    obj = new or old
    if obj is None:
        return ()
    metadata = obj["metadata"]
    if old is not None and new is not None and _spec_mark(old) == _spec_mark(new) and _surge(old) == _surge(new):
        return ()
    return [(keys.set_key(obj["kind"], metadata["namespace"], metadata["name"]), 0.0)]


def on_clique(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A PodClique: its pods when its spec changes or it goes, its owner when its status changes or it goes."""
    obj = new or old
    if obj is None:
        return ()
    metadata = obj["metadata"]
    found: list[tuple[str, float]] = []
    if old is None or new is None or _spec_mark(old) != _spec_mark(new):
        found.append((keys.clique(metadata["namespace"], metadata["name"]), 0.0))
        found += _gang_keys(metadata)
    if new is None or old is None or old.get("status") != new.get("status") or _going(old) != _going(new):
        found += _owner_keys(obj, deleted=new is None)
    return found


def on_group(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A PodCliqueScalingGroup: its members and gangs when its spec changes, the set when its status changes."""
    obj = new or old
    if obj is None:
        return ()
    metadata = obj["metadata"]
    if new is None:
        itself = (keys.group(metadata["namespace"], metadata["name"]), 0.0)
        return [itself, *_scaled_gangs(obj, 0), *_owner_keys(obj, deleted=True)]
    found: list[tuple[str, float]] = []
    if old is None or _spec_mark(old) != _spec_mark(new):
        found.append((keys.group(metadata["namespace"], metadata["name"]), 0.0))
        found += _scaled_gangs(old, new["spec"].get("replicas", 1)) if old is not None else ()
    if old is not None and old.get("status") != new.get("status"):
        found += _set_status(obj)
    return found


def on_pod(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A pod: of ours, its clique and gang; of anybody, room where it goes."""
    obj = new or old
    if obj is None or (old is not None and new is not None and _pod_mark(old) == _pod_mark(new)):
        return ()
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    found: list[tuple[str, float]] = []
    if labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY and names.LABEL_PODCLIQUE in labels:
        found.append((keys.clique(metadata["namespace"], labels[names.LABEL_PODCLIQUE]), 0.0))
        found += _gang_keys(metadata)
    if new is None or plan.finished(new):
        found += deviceevents.of_gone_pod(obj)
    if (new is None or plan.finished(new)) and (obj["spec"].get("nodeName") or found):
        # A pod of ours without a node may have had room kept for it.
        found.append((keys.ROOM, _ROOM_DELAY))
    return found


def on_node(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A node: room, where anything that placement reads has changed."""
    if new is not None and old is not None and _node_mark(old) == _node_mark(new):
        return ()
    return [(keys.ROOM, _ROOM_DELAY)]


def on_gang(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A PodGang that somebody deleted is written again if it is still wanted; handed over, its set tells of it."""
    if new is None and old is not None:
        return _gang_keys({**old["metadata"], "labels": {names.LABEL_PODGANG: old["metadata"]["name"]}})
    if new is not None and handed.is_over(new) and (old or {}).get("status") != new.get("status"):
        return _set_status(new)
    return ()


def on_companion(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A Service, autoscaler or RBAC object: put it right when somebody changed or removed it."""
    obj = new or old
    if obj is None or (old is None and new is not None):
        return ()
    if new is not None and old is not None and _same_spec(old, new):
        return ()
    return _owner_keys(obj, deleted=True)


def on_budget(old: raw.Object | None, new: raw.Object | None) -> Keyed:
    """A PodDisruptionBudget of ours: its PodClique, when somebody changed or removed it."""
    obj = new or old
    if obj is None or not budgets.is_ours(obj) or (new is not None and (old is None or _same_spec(old, new))):
        return ()
    clique = obj["metadata"]["labels"].get(names.LABEL_PODCLIQUE)
    return [(keys.clique(obj["metadata"]["namespace"], clique), 0.0)] if clique else []


def _same_spec(old: raw.Object, new: raw.Object) -> bool:
    return _spec_mark(old) == _spec_mark(new) and old.get("spec") == new.get("spec")


def _owner_keys(obj: raw.Object, *, deleted: bool) -> list[tuple[str, float]]:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    found = _set_status(obj)
    group = labels.get(names.LABEL_SCALINGGROUP)
    if group is not None:
        found.append((keys.group(metadata["namespace"], group), 0.0))
    elif deleted:
        found += _parent_keys(metadata)
    return found


def _scaled_gangs(group: raw.Object, kept: int) -> list[tuple[str, float]]:
    """Return the keys of the gangs of a group's replicas beyond `kept`: those are no longer wanted."""
    metadata, spec = group["metadata"], group["spec"]
    minimum = spec.get("minAvailable") or 1
    gone = range(max(kept, minimum), spec.get("replicas", 1))
    return [(keys.gang(metadata["namespace"], naming.scaled_gang(metadata["name"], j, minimum)), 0.0) for j in gone]


def _parent_keys(metadata: raw.Object) -> list[tuple[str, float]]:
    labels = metadata.get("labels") or {}
    owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
    if owner is None or owner["kind"] not in names.DIALECTS:
        return []
    index = labels.get(names.DIALECTS[owner["kind"]].label_replica_index)
    namespace = metadata["namespace"]
    if index is None:
        return [(keys.set_key(owner["kind"], namespace, owner["name"]), 0.0)]
    return [(keys.replica(owner["kind"], namespace, owner["name"], int(index)), 0.0)]


def _set_status(obj: raw.Object) -> list[tuple[str, float]]:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    for dialect in names.DIALECTS.values():
        if dialect.label_replica_index in labels:
            key = keys.set_status(dialect.kind, metadata["namespace"], labels[names.LABEL_PART_OF])
            return [(key, _STATUS_DELAY)]
    return []


def _gang_keys(metadata: raw.Object) -> list[tuple[str, float]]:
    gang = (metadata.get("labels") or {}).get(names.LABEL_PODGANG)
    return [(keys.gang(metadata["namespace"], gang), 0.0)] if gang else []


def _spec_mark(obj: raw.Object) -> tuple[object, ...]:
    metadata = obj["metadata"]
    asked = metadata.get("annotations") or {}
    wishes = asked.get(names.ANNOTATION_RECONCILE), asked.get(names.ANNOTATION_BUDGET)
    return metadata.get("generation"), _going(obj), wishes, metadata.get("labels")


def _surge(obj: raw.Object) -> int:
    """Return how many extra replicas an update runs: they come and go with the status."""
    field = names.DIALECTS[obj["kind"]].progress_field
    found: int = ((obj.get("status") or {}).get(field) or {}).get("surgeReplicas", 0)
    return found


def _going(obj: raw.Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def _pod_mark(pod: raw.Object) -> tuple[object, ...]:
    status = pod.get("status") or {}
    ready = conditions.find(status.get("conditions"), "Ready")
    scheduled = conditions.find(status.get("conditions"), "PodScheduled")
    started = tuple(bool(entry.get("started")) for entry in status.get("containerStatuses") or ())
    crashed = tuple("terminated" in (entry.get("lastState") or {}) for entry in status.get("containerStatuses") or ())
    return (
        pod["spec"].get("nodeName"),
        plan.gated(pod),
        status.get("phase"),
        ready and ready["status"],
        scheduled and (scheduled["status"], scheduled.get("reason")),
        _going(pod),
        started,
        crashed,
    )


def _closed(node: raw.Object) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))


def _node_mark(node: raw.Object) -> tuple[object, ...]:
    status = node.get("status") or {}
    labels = node["metadata"].get("labels")
    return labels, node.get("spec"), status.get("allocatable"), shape.ready(node)


MAPPERS: dict[str, Callable[[raw.Object | None, raw.Object | None], Keyed]] = {
    "podgangsets": on_set,
    "podcliquesets": on_set,
    "podcliques": on_clique,
    "podcliquescalinggroups": on_group,
    "podgangs": on_gang,
    "pods": on_pod,
    "nodes": on_node,
    "services": on_companion,
    "serviceaccounts": on_companion,
    "roles": on_companion,
    "rolebindings": on_companion,
    "horizontalpodautoscalers": on_companion,
    "controllerrevisions": on_companion,
    "resourceclaims": deviceevents.on_claim,
    "computedomains": deviceevents.on_domain,
    "poddisruptionbudgets": on_budget,
}


class Dispatcher:
    """Collects keys from informers, writes them to Redis in batches, and wakes workers."""

    def __init__(
        self, ctx: context.Context, redis: Redis, wake: Callable[[str], None], informers: Iterable[informer.Informer]
    ) -> None:
        self._ctx = ctx
        self._redis = redis
        self._wake = wake
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
        if plural == "poddisruptionbudgets":
            each.add_handler(self._on_foreign_budget)
        self._map(each, plural, MAPPERS[plural])

    def follow_foreign(self, mark: str, each: informer.Informer) -> None:
        """Follow a kind of another scheduler's, known to workers by its mark."""
        self._map(each, mark, partial(handed.MAPPERS[each.resource.plural], self._ctx))

    def _map(
        self, each: informer.Informer, plural: str, mapper: Callable[[raw.Object | None, raw.Object | None], Keyed]
    ) -> None:
        def handle(old: raw.Object | None, new: raw.Object | None) -> None:
            obj = new or old
            version = informer.version_of(obj) if obj is not None else 0
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
        resource = _NAMED.get(parsed.kind) or context.SET_RESOURCES.get(parsed.owner_kind)
        if resource is not None and resource.plural != plural:
            version = stores.of(resource).version_at(parsed.namespace, parsed.name)
            if version:
                self._put(queue.Addition(key, delay, resource.plural, version))

    def _on_topology(self, old: raw.Object | None, new: raw.Object | None) -> None:
        obj = new or old
        if obj is None:
            return
        version = informer.version_of(obj)
        name = obj["metadata"]["name"]
        same = old is not None and new is not None and old.get("spec") == new.get("spec")
        if not same or (handed.has_verdict(old) and not handed.has_verdict(new)):
            self._put(queue.Addition(keys.binding(name), 0.0, "clustertopologybindings", version))
        if same:
            return
        for found in [*self._ctx.stores.sets.all(), *self._ctx.stores.clique_sets.all()]:
            if gangs.topology_name(parse.workload(found)) == name:
                metadata = found["metadata"]
                self._put(queue.Addition(keys.set_status(found["kind"], metadata["namespace"], metadata["name"]), 0.05))
        self._put(queue.Addition(keys.ROOM, _ROOM_DELAY))

    def _on_claim_template(self, old: raw.Object | None, new: raw.Object | None) -> None:
        if old is None and new is not None:
            for key in deviceevents.waiting_for(self._ctx.stores, new):
                self._put(queue.Addition(key, 0.0, "resourceclaimtemplates", informer.version_of(new)))

    def _on_lost_node(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Have the cliques looked at that have pods on a node that is gone, no longer ready, or cordoned (or not)."""
        if old is None or (new is not None and shape.ready(old) == shape.ready(new) and _closed(old) == _closed(new)):
            return
        version = informer.version_of(new) if new is not None else 0
        for pod in self._ctx.stores.pods.by_index("node", old["metadata"]["name"]):
            clique = (pod["metadata"].get("labels") or {}).get(names.LABEL_PODCLIQUE)
            if clique is not None:
                self._put(queue.Addition(keys.clique(pod["metadata"]["namespace"], clique), 0.0, "nodes", version))

    def _on_foreign_budget(self, old: raw.Object | None, new: raw.Object | None) -> None:
        """Have the cliques of the namespace looked at: their pods may be selected by it now, or no longer."""
        obj = new or old
        if obj is None or budgets.is_ours(obj) or (old is not None and new is not None and _same_spec(old, new)):
            return
        for clique in self._ctx.stores.cliques.all():
            metadata = clique["metadata"]
            if metadata["namespace"] == obj["metadata"]["namespace"]:
                key = keys.clique(metadata["namespace"], metadata["name"])
                self._put(queue.Addition(key, 0.0, "poddisruptionbudgets", informer.version_of(obj)))

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
            for key, _delay in _gang_keys(obj["metadata"]):
                self._put(queue.Addition(key))
        for obj in self._ctx.stores.gangs.all():
            self._put(queue.Addition(keys.gang(obj["metadata"]["namespace"], obj["metadata"]["name"])))
        for obj in self._ctx.stores.topologies.all():
            self._put(queue.Addition(keys.binding(obj["metadata"]["name"])))
        self._put(queue.Addition(keys.ROOM))

    async def run(self) -> None:
        """Write, wake and resync until cancelled. Without Redis keys are kept here, and a resync follows."""
        await asyncio.gather(self._write(), self._pump(), self._resync())

    async def _write(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(0.005)
            try:
                await self.flush()
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

    async def _pump(self) -> None:
        """Send a wake-up where keys are due. A flag keeps the number of wake-ups on their way bounded."""
        while True:
            try:
                for each in (self._ctx.work, self._ctx.placement):
                    due = await each.next_due()
                    if (
                        due is not None
                        and due <= 0
                        and await self._redis.set(awake_key(each.name), 1, nx=True, px=2000)
                    ):
                        await asyncio.to_thread(self._wake, each.name)
                    metrics.QUEUE_DEPTH.labels(each.name).set(await each.depth())
            except (RedisError, OSError) as error:
                self._report(error)
                await asyncio.sleep(1.0)
            await asyncio.sleep(0.02)

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


def awake_key(name: str) -> str:
    """Return the Redis key that says that a wake-up for a queue is on its way."""
    return f"grovekeeper:{{{name}}}:awake"


def _placement(key: str) -> bool:
    return key == keys.ROOM or key.startswith("gang:")
