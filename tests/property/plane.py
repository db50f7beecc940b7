"""The control plane of a sequence: what was written in which order, and the controllers around ours.

Scheduler, kubelet, node controller and garbage collector do one thing each time they are asked; nothing waits.
"""

import contextlib
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from grovekeeper.api import raw
from grovekeeper.expand import plan
from grovekeeper.kube import errors, resources, store
from grovekeeper.placement import shape
from grovekeeper.reconciler import pins
from tests.reconciler import placing, world

GRACE = timedelta(seconds=2)
COLLECTION = timedelta(seconds=1)
EVICTION = timedelta(seconds=60)
ELSE = "else"
"""The namespace of pods that are none of ours."""
_OWNERS = (*resources.SETS.values(), resources.PODCLIQUES, resources.SCALINGGROUPS)
PLURALS = {resource.kind: resource.plural for resource in _OWNERS}
SETS = tuple(resource.plural for resource in resources.SETS.values())


class Event(NamedTuple):
    """One entry of the log of a kind, as a watch sends it."""

    version: int
    old: raw.Object | None
    new: raw.Object | None


class Log(list[tuple[str, raw.Object | None, raw.Object | None]]):
    """Takes what the API server notes and sorts it by kind, for watches that are not equally fast."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, list[Event]] = defaultdict(list)
        self.length = 0

    def append(self, change: tuple[str, raw.Object | None, raw.Object | None]) -> None:
        plural, old, new = change
        self.of[plural].append(Event(store.version_of(new or old or {}), old, new))
        self.length += 1


class Plane(placing.Api):
    """The API server, with the other controllers' work as methods."""

    def __init__(self, time: world.Clock, chance: random.Random) -> None:
        super().__init__(time)
        self._chance = chance
        self.log = Log()
        self.changes = self.log
        self._since: dict[str, datetime] = {}
        """When something was first seen that lasts a while (a pod terminates, an owner is gone), by its mark."""
        self.timers: list[datetime] = []
        self.crowded = 0
        """How many pods of others there may be at a time."""
        self.stir = 0
        """How many of them may still come or go, until the next move: then everything is to come to rest."""
        self._strangers = 0
        self.late: list[Callable[[], Awaitable[object]]] = []
        """Requests that are carried out only after their client has given up waiting for the answer."""

    @property
    def now(self) -> datetime:
        return self._time.now()

    def ours(self) -> list[raw.Object]:
        """The pods that are members of sets."""
        return [pod for (namespace, _), pod in self.of("pods").items() if namespace == "ns"]

    def live(self) -> list[raw.Object]:
        """Those of them that count."""
        return [pod for pod in self.ours() if plan.alive(pod)]

    def is_current(self, obj: raw.Object) -> bool:
        """Whether an object's owner is there and is not being deleted, and so on up to the set."""
        owner = (obj["metadata"].get("ownerReferences") or [None])[0]
        if owner is None:
            return True
        plural = PLURALS[owner["kind"]]
        found = self.of(plural).get(("ns", owner["name"]))
        same = found is not None and found["metadata"]["uid"] == owner["uid"] and not plan.terminating(found)
        return found is not None and same and self.is_current(found)

    def change(self, plural: str, obj: raw.Object, **fields: raw.Json) -> raw.Object:
        """Store an object with other top-level fields, as a controller of Kubernetes does."""
        return self._put(plural, {**obj, **fields})

    def remove(self, plural: str, obj: raw.Object) -> None:
        """Take an object out of the store."""
        metadata = obj["metadata"]
        if self.of(plural).pop((metadata.get("namespace") or "", metadata["name"]), None) is not None:
            gone = {**obj, "metadata": {**metadata, "resourceVersion": str(next(self._numbers))}}
            self.changes.append((plural, gone, None))

    async def evict(self, name: str, namespace: str, *, uid: str | None = None, dry_run: bool = False) -> None:
        """Say on the pod why it goes, and let it end: nobody has a budget here but we ourselves."""
        pod = self._find("pods", namespace, name)
        if uid not in (None, pod["metadata"]["uid"]):
            raise errors.Conflict("another uid")
        if not dry_run:
            listed = (pod.get("status") or {}).get("conditions") or ()
            why = {"type": "DisruptionTarget", "status": "True"}
            self.change("pods", pod, status={**(pod.get("status") or {}), "conditions": [*listed, why]})
            await self.delete(resources.PODS, name, namespace)

    def strangers(self) -> list[str]:
        """The names of the pods of others."""
        return sorted(name for namespace, name in self.of("pods") if namespace == ELSE)

    def crowd(self) -> None:
        """Have pods of others come and go, which take whatever room kube-scheduler finds for them."""
        there = self.strangers()
        if not self.stir or not (there or self.crowded):
            return
        self.stir -= 1
        if len(there) < self.crowded and self._chance.random() < 0.7:
            self._strangers += 1
            self.foreign(f"other-{self._strangers}")
        elif there:
            self.remove("pods", self.of("pods")[ELSE, self._chance.choice(there)])

    def disperse(self) -> None:
        """Have all pods of others go."""
        for name in self.strangers():
            self.remove("pods", self.of("pods")[ELSE, name])

    async def land(self) -> None:
        """Carry out a request that is late; what it is answered nobody hears."""
        if self.late:
            with contextlib.suppress(errors.KubeError):
                await self.late.pop(0)()

    def work(self) -> None:
        """Let every controller of Kubernetes look once."""
        self.timers.clear()
        self._evict()
        self.bind()
        self._run()
        self._collect()

    def _lasts(self, mark: str, how_long: timedelta) -> bool:
        """Return whether what the mark stands for has lasted; if not, come back then."""
        begin = self._since.setdefault(mark, self.now)
        if self.now - begin >= how_long:
            return True
        self.timers.append(begin + how_long)
        return False

    def _node_of(self, pod: raw.Object) -> raw.Object | None:
        return self.of("nodes").get(("", pod["spec"].get("nodeName") or ""))

    def bind(self) -> None:
        """The scheduler: it knows no gangs, only pins, nominations and room."""
        for pod in list(self.of("pods").values()):
            if pod["spec"].get("nodeName") or pod["spec"].get("schedulingGates") or not plan.alive(pod):
                continue
            target = self._open(pod) if pod["metadata"]["namespace"] == ELSE else self._pinned(pod)
            if target is not None and shape.refusal(pod["spec"], target) is None and self.room(target) >= cpu(pod):
                self.change("pods", pod, spec={**pod["spec"], "nodeName": target["metadata"]["name"]})
            else:
                verdict = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
                self._conditions(pod, "Pending", verdict)

    def _pinned(self, pod: raw.Object) -> raw.Object | None:
        return self.of("nodes").get(("", pins.pinned_to(pod) or ""))

    def _open(self, pod: raw.Object) -> raw.Object | None:
        """A node that a pod of others may take: any with room that is not held by nomination."""
        held: dict[str, int] = defaultdict(int)
        for other in self.of("pods").values():
            if not other["spec"].get("nodeName") and plan.alive(other):
                held[(other.get("status") or {}).get("nominatedNodeName") or ""] += cpu(other)
        found = [n for n in self.of("nodes").values() if self.room(n) - held[n["metadata"]["name"]] >= cpu(pod)]
        found = [node for node in found if shape.refusal(pod["spec"], node) is None]
        return self._chance.choice(found) if found else None

    def room(self, node: raw.Object) -> int:
        """Milli-CPUs of a node that no bound pod has."""
        name = node["metadata"]["name"]
        bound = [p for p in self.of("pods").values() if p["spec"].get("nodeName") == name and not plan.finished(p)]
        return shape.allocatable(node)["cpu"] - sum(map(cpu, bound))

    def _run(self) -> None:
        """The kubelets: what is bound runs, what is to go goes after its grace, on nodes that are there and well."""
        for pod in list(self.of("pods").values()):
            target = self._node_of(pod)
            if target is None or not shape.ready(target):
                continue
            if plan.terminating(pod):
                if self._lasts(f"grace {pod['metadata']['uid']}", GRACE):
                    self.remove("pods", pod)
            elif not plan.finished(pod) and not plan.ready(pod):
                self._conditions(pod, "Running", {"type": "Ready", "status": "True"})

    def _evict(self) -> None:
        """The node controller and the pod garbage collector."""
        for pod in list(self.of("pods").values()):
            target, uid = self._node_of(pod), pod["metadata"]["uid"]
            if not pod["spec"].get("nodeName") or (target is not None and shape.ready(target)):
                self._since.pop(f"lost {uid}", None)
                continue
            if not plan.finished(pod):
                self._conditions(pod, "Running", {"type": "Ready", "status": "False", "reason": "NodeNotReady"})
            if self._lasts(f"lost {uid}", EVICTION):
                if target is None:
                    self.remove("pods", pod)
                elif not plan.terminating(pod):
                    stored = self._find("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
                    going = {**stored["metadata"], "deletionTimestamp": self._time.stamp()}
                    self.change("pods", stored, metadata=going)

    def _conditions(self, pod: raw.Object, phase: str, condition: raw.Object) -> None:
        status = {**(pod.get("status") or {}), "phase": phase, "conditions": [condition]}
        if status != pod.get("status"):
            stored = self._find("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
            self.change("pods", stored, status=status)

    def _collect(self) -> None:
        """The garbage collector, which is slow."""
        for plural, obj in self.orphans():
            if self._lasts(f"orphan {obj['metadata']['uid']}", COLLECTION):
                self.remove(plural, obj)

    def orphans(self) -> Iterator[tuple[str, raw.Object]]:
        """Objects whose owner is gone."""
        known = {obj["metadata"].get("uid") for objects in self.objects.values() for obj in objects.values()}
        for plural, objects in self.objects.items():
            for obj in list(objects.values()):
                owners = obj["metadata"].get("ownerReferences") or ()
                if owners and not any(owner["uid"] in known for owner in owners):
                    yield plural, obj


def cpu(pod: raw.Object) -> int:
    """Milli-CPUs that a pod asks for."""
    return shape.requests(pod["spec"]).get("cpu", 0)
