"""A cluster in a few dictionaries, with a queue and a clock that a test drives: nothing waits, nothing is random.

Real are the reconcilers, the dispatcher's mapping from events to keys, the caches and the pod webhook's function.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import jsonpatch
import orjson

from grovekeeper.api import names, raw
from grovekeeper.expand import injection, plan
from grovekeeper.kube import client, errors, resources, store
from grovekeeper.reconciler import caches, context, deviceevents, keys, mapping, worker
from grovekeeper.runtime import clock, queue, settings

START = datetime(2026, 1, 1, tzinfo=UTC)


def copied(obj: Any) -> Any:
    """A deep copy, ten times as fast as copy.deepcopy."""
    return orjson.loads(orjson.dumps(obj))


class Clock(clock.Clock):
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = START

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


class Api:
    """The API server: what the reconcilers ask of it, and a list of what changed."""

    def __init__(self, time: Clock) -> None:
        self.objects: dict[str, dict[tuple[str, str], raw.Object]] = {}
        self.calls: Counter[str] = Counter()
        self.changes: list[tuple[str, raw.Object | None, raw.Object | None]] = []
        self.refuse: Callable[[str, raw.Object], Exception | None] = lambda plural, obj: None
        self.webhook = True
        self._time = time
        self._numbers = itertools.count(1)

    def of(self, plural: str) -> dict[tuple[str, str], raw.Object]:
        return self.objects.setdefault(plural, {})

    async def create(self, resource: resources.Resource, obj: raw.Object, *, dry_run: bool = False) -> raw.Object:
        self.calls[f"create {resource.plural}{' (dry run)' if dry_run else ''}"] += 1
        error = self.refuse(resource.plural, obj)
        if error is not None:
            raise error
        obj = copied(obj)
        metadata = obj["metadata"]
        key = metadata.get("namespace") or "", metadata["name"]
        if key in self.of(resource.plural):
            raise errors.AlreadyExists(f"{resource.plural} {metadata['name']} exists")
        if resource is resources.PODS and self.webhook:
            obj = jsonpatch.apply_patch(obj, injection.operations(obj, injection.Settings("grovekeeper:test")))
            metadata = obj["metadata"]
        metadata["creationTimestamp"] = self._time.stamp()
        metadata["uid"] = f"uid-{next(self._numbers)}"
        metadata["generation"] = 1
        if resource.plural in ("podgangsets", "podcliquesets", "podcliques", "podcliquescalinggroups"):
            obj["status"] = {"observedGeneration": -1}
        return copied(obj) if dry_run else self._put(resource.plural, obj)

    async def get(self, resource: resources.Resource, name: str, namespace: str | None = None) -> raw.Object:
        self.calls[f"get {resource.plural}"] += 1
        return copied(self._find(resource.plural, namespace, name))

    async def list(self, resource: resources.Resource) -> client.Page:
        self.calls[f"list {resource.plural}"] += 1
        return client.Page([copied(obj) for obj in self.of(resource.plural).values()], "0")

    async def apply(self, resource: resources.Resource, obj: raw.Object, *, manager: str) -> raw.Object:
        assert manager == names.FIELD_MANAGER
        self.calls[f"apply {resource.plural}"] += 1
        live = self._find(resource.plural, obj["metadata"].get("namespace"), obj["metadata"]["name"])
        version = live["metadata"]["resourceVersion"]
        if obj["metadata"].get("resourceVersion", version) != version:
            raise errors.Conflict("stale")
        return self._change(resource.plural, live, merged(live, obj))

    async def patch(
        self,
        resource: resources.Resource,
        name: str,
        namespace: str | None,
        body: raw.Json,
        *,
        type: str,
        subresource: str | None = None,
    ) -> raw.Object:
        self.calls[f"patch {resource.plural}{'/' + subresource if subresource else ''}"] += 1
        live = self._find(resource.plural, namespace, name)
        if type == "json":
            wanted = jsonpatch.apply_patch(live, body)
            if wanted["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
                raise errors.Conflict("stale")
            return self._change(resource.plural, live, wanted)
        assert type == "merge"
        metadata = body.get("metadata", {})
        if metadata.get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
            raise errors.Invalid("uid", {"details": {"causes": [{"field": "metadata.uid"}]}})
        if metadata.get("resourceVersion", live["metadata"]["resourceVersion"]) != live["metadata"]["resourceVersion"]:
            raise errors.Conflict("stale")
        if subresource == "status":
            body = {"status": body["status"]}
        else:
            body = {key: value for key, value in body.items() if key != "status"}
        return self._change(resource.plural, live, merged(live, body))

    async def delete(
        self,
        resource: resources.Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        version: str | None = None,
        grace: int | None = None,
        propagation: str | None = None,
    ) -> None:
        self.calls[f"delete {resource.plural}"] += 1
        live = self.of(resource.plural).get((namespace or "", name))
        if live is None:
            return
        if uid is not None and live["metadata"]["uid"] != uid:
            raise errors.Conflict("another uid")
        if version is not None and live["metadata"]["resourceVersion"] != version:
            raise errors.Conflict("another version")
        if resource is resources.PODS and live["spec"].get("nodeName") and grace != 0:
            if "deletionTimestamp" not in live["metadata"]:
                metadata = {**live["metadata"], "deletionTimestamp": self._time.stamp()}
                self._put(resource.plural, {**live, "metadata": metadata})
            return
        if live["metadata"].get("finalizers"):
            if "deletionTimestamp" not in live["metadata"]:
                self._put(
                    resource.plural, {**live, "metadata": {**live["metadata"], "deletionTimestamp": self._time.stamp()}}
                )
            return
        self._drop(resource.plural, live)

    def _drop(self, plural: str, live: raw.Object) -> None:
        del self.of(plural)[live["metadata"].get("namespace") or "", live["metadata"]["name"]]
        live = copied(live)
        live["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.changes.append((plural, live, None))

    def _find(self, plural: str, namespace: str | None, name: str) -> raw.Object:
        try:
            return self.of(plural)[namespace or "", name]
        except KeyError:
            raise errors.NotFound(f"{plural} {name}") from None

    def _change(self, plural: str, live: raw.Object, wanted: raw.Object) -> raw.Object:
        held, holds = (bool(each["metadata"].get("finalizers")) for each in (live, wanted))
        if "deletionTimestamp" in live["metadata"] and held and not holds:
            self._drop(plural, wanted)
            return copied(wanted)
        if wanted.get("spec") != live.get("spec"):
            wanted = copied(wanted)
            wanted["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1
        return copied(live) if wanted == live else self._put(plural, wanted)

    def _put(self, plural: str, obj: raw.Object) -> raw.Object:
        obj = copied(obj)
        obj["metadata"]["resourceVersion"] = str(next(self._numbers))
        key = obj["metadata"].get("namespace") or "", obj["metadata"]["name"]
        self.changes.append((plural, self.of(plural).get(key), obj))
        self.of(plural)[key] = obj
        return copied(obj)


def merged(live: raw.Object, change: raw.Object) -> raw.Object:
    """RFC 7386."""
    result = dict(live)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key) or {}, value)
        else:
            result[key] = copied(value)
    return result


class Work:
    """The queue: keys with the moment from which they are due."""

    def __init__(self, time: Clock) -> None:
        self.due: dict[str, datetime] = {}
        self._time = time

    async def add(self, additions: Iterable[queue.Addition]) -> int:
        for entry in additions:
            self.put(entry.key, entry.delay)
        return 0

    def put(self, key: str, delay: float) -> None:
        moment = self._time.moment + timedelta(seconds=delay)
        self.due[key] = min(moment, self.due.get(key, moment))


class Events:
    """Collects what people are told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def warning(self, about: raw.Object, reason: str, message: str, now: str) -> None:
        self.said.append((about["metadata"]["name"], reason, message))

    normal = warning


class World:
    """Everything together."""

    def __init__(self, *, auto_mnnvl: bool = False, **options: Any) -> None:
        self.clock = Clock()
        self.api = Api(self.clock)
        self.work = Work(self.clock)
        self.events = Events()
        self.runs: Counter[str] = Counter()
        stores = {field: store.Store(caches.INDEXES.get(plural)) for plural, field in caches.FIELDS.items()}
        self.ctx = context.Context(
            client=self.api,  # type: ignore[arg-type]
            stores=caches.Stores(**stores),
            work=self.work,  # type: ignore[arg-type]
            placement=SimpleNamespace(add=self._placement),  # type: ignore[arg-type]
            clock=self.clock,
            events=self.events,  # type: ignore[arg-type]
            settings=settings.Settings(auto_mnnvl=auto_mnnvl, reconcile=settings.Reconcile(**options)),
        )

    async def _placement(self, additions: Iterable[queue.Addition]) -> int:
        return len(list(additions))

    def see(self) -> None:
        """Let the caches and the dispatcher see what has changed."""
        while self.api.changes:
            plural, old, new = self.api.changes.pop(0)
            if plural not in caches.WATCHED:
                continue
            store = self.ctx.stores.of(caches.WATCHED[plural][0])
            if new is None:
                store.observe_deleted(copied(old or {}))
            else:
                store.observe(copied(new))
            if plural == "resourceclaimtemplates" and old is None and new is not None:
                for key in deviceevents.waiting_for(self.ctx.stores, new):
                    self.work.put(key, 0.0)
            if plural in mapping.MAPPERS:
                for key, delay in mapping.MAPPERS[plural](old, new):
                    if not key.startswith("gang:") and key != keys.ROOM:
                        self.work.put(key, delay)

    async def settle(self, rounds: int = 200) -> None:
        """Work until nothing is due now."""
        for _ in range(rounds):
            self.see()
            ready = [key for key, moment in self.work.due.items() if moment <= self.clock.moment]
            if not ready:
                return
            for key in ready:
                await self.run(key)
        raise AssertionError(f"no end in sight: {self.work.due}")

    async def run(self, key: str) -> None:
        """Reconcile one key as a worker would."""
        self.work.due.pop(key, None)
        self.runs[key.partition(":")[0]] += 1
        try:
            result = await worker.RECONCILERS[keys.parse(key).kind](self.ctx, keys.parse(key))
        except errors.Conflict:
            self.work.put(key, 0.05)
            return
        if result.requeue_after is not None:
            self.work.put(key, result.requeue_after)

    async def advance(self, seconds: float) -> None:
        """Let time pass; whatever becomes due is done at its moment."""
        end = self.clock.moment + timedelta(seconds=seconds)
        await self.settle()
        while self.work.due and min(self.work.due.values()) <= end:
            self.clock.moment = max(self.clock.moment, min(self.work.due.values()))
            await self.settle()
        self.clock.moment = end
        await self.settle()

    async def apply(self, obj: raw.Object) -> raw.Object:
        """Create a set, or change the spec of the one that is there."""
        resource = resources.SETS[obj["kind"]]
        metadata = obj["metadata"]
        if (metadata["namespace"], metadata["name"]) not in self.api.of(resource.plural):
            return await self.api.create(resource, obj)
        body = {"spec": obj["spec"]}
        return await self.api.patch(resource, metadata["name"], metadata["namespace"], body, type="merge")

    async def edit(self, resource: resources.Resource, name: str, body: raw.Object) -> raw.Object:
        return await self.api.patch(resource, name, "ns", body, type="merge")

    def names(self, resource: resources.Resource) -> list[str]:
        return sorted(name for _, name in self.api.of(resource.plural))

    def get(self, resource: resources.Resource, name: str) -> raw.Object:
        return self.api.of(resource.plural)["ns", name]

    def pods(self, clique: str = "") -> list[raw.Object]:
        """The pods of a clique (or all), by index."""
        found = [
            pod
            for pod in self.api.of("pods").values()
            if clique in ("", pod["metadata"]["labels"][names.LABEL_PODCLIQUE])
        ]
        return sorted(found, key=lambda pod: str(pod["spec"]["hostname"]))

    async def start(self, clique: str = "") -> None:
        """Place and start all pods (of a clique): what placement, scheduler and kubelet do."""
        for pod in plan.members(self.pods(clique)):
            if "deletionTimestamp" not in pod["metadata"]:
                await self.mark(pod, node="n1", ready=True)

    async def mark(self, pod: raw.Object, *, node: str = "", ready: bool = False, phase: str = "Running") -> None:
        spec: raw.Object = {"schedulingGates": None}
        if node:
            spec["nodeName"] = node
            if ("", node) not in self.api.of("nodes"):
                ready_condition = {"type": "Ready", "status": "True"}
                self.api._put(
                    "nodes", {"metadata": {"name": node, "uid": node}, "status": {"conditions": [ready_condition]}}
                )
        conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": self.clock.stamp()}]
        body = {"spec": spec}
        name = pod["metadata"]["name"]
        await self.edit(resources.PODS, name, body)
        status = {"status": {"phase": phase, "conditions": conditions}}
        await self.api.patch(resources.PODS, name, "ns", status, type="merge", subresource="status")

    async def finish(self) -> None:
        """Let terminating pods go."""
        for pod in self.pods():
            if "deletionTimestamp" in pod["metadata"]:
                await self.api.delete(resources.PODS, pod["metadata"]["name"], "ns", grace=0)


def podset(kind: str = names.PODCLIQUESET, name: str = "demo", **template: Any) -> raw.Object:
    """A set: standalone clique front (2 pods), group pool (2 replicas, minimum 1) of lead (1) and work (2)."""
    replicas = template.pop("replicas", 1)

    def clique(clique_name: str, count: int, minimum: int = 1) -> raw.Object:
        return {
            "name": clique_name,
            "spec": {
                "roleName": clique_name,
                "replicas": count,
                "minAvailable": minimum,
                "podSpec": {"containers": [{"name": "main", "image": "model:1"}]},
            },
        }

    return {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {
            "replicas": replicas,
            "template": {
                "terminationDelay": "10s",
                "cliques": [clique("front", 2), clique("lead", 1), clique("work", 2)],
                "podCliqueScalingGroups": [
                    {"name": "pool", "cliqueNames": ["lead", "work"], "replicas": 2, "minAvailable": 1}
                ],
                **template,
            },
        },
    }


def condition(obj: raw.Object, type_: str) -> raw.Object | None:
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((entry for entry in found if entry["type"] == type_), None)
