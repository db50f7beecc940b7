"""A small scheduler like the stock one: one pod at a time, the same filters as the placement engine's arithmetic.

It is deliberately ignorant of gangs: what holds a gang together is Grovekeeper's gates, nominations and pins.
"""

import asyncio
from collections.abc import Callable

import numpy as np

from grovekeeper.api import raw
from grovekeeper.embedded import pods
from grovekeeper.embedded.claims import CLAIMS, Claims
from grovekeeper.embedded.storage import Collection, Storage
from grovekeeper.placement import pack
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.snapshot import Snapshot

_PODS: Collection = ("", "pods")
_NODES: Collection = ("", "nodes")


class Scheduler:
    """Binds pending, ungated pods; retries when anything changes."""

    def __init__(self, storage: Storage, now: Callable[[], str], claims: Claims) -> None:
        self._storage = storage
        self._claims = claims
        self._now = now
        self._snapshot = Snapshot()
        self._waiting: dict[str, raw.Object] = {}
        self._some = asyncio.Event()
        storage.listeners.append(self._on_event)

    def _on_event(self, collection: Collection, kind: str, obj: raw.Object, _old: raw.Object | None) -> None:
        if collection == _NODES:
            if kind == "DELETED":
                self._snapshot.remove_node(obj["metadata"]["name"])
            else:
                self._snapshot.upsert_node(obj)
            self._some.set()
        elif collection == _PODS:
            self._on_pod(kind, obj)
        elif collection == CLAIMS:
            self._some.set()

    def _on_pod(self, kind: str, pod: raw.Object) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self._waiting.pop(uid, None)
            self._snapshot.remove_pod(uid)
            self._some.set()
            return
        self._snapshot.upsert_pod(pod)
        spec = pod["spec"]
        open_ = (
            not spec.get("nodeName")
            and not spec.get("schedulingGates")
            and not pod["metadata"].get("deletionTimestamp")
        )
        if open_ and spec.get("schedulerName") == "default-scheduler":
            self._waiting[uid] = pod
            self._some.set()
        else:
            self._waiting.pop(uid, None)

    async def run(self) -> None:
        """Schedule until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            waiting = sorted(self._waiting.values(), key=lambda pod: -(pod["spec"].get("priority") or 0))
            for pod in waiting:
                self._schedule(pod)
            await asyncio.sleep(0.005)

    def _schedule(self, pod: raw.Object) -> None:
        uid = pod["metadata"]["uid"]
        nominated = (pod.get("status") or {}).get("nominatedNodeName")
        if nominated:
            self._snapshot.remove_pod(uid)  # its own nomination does not stand in its way
        lacking = self._claims.lacking(pod)
        node = self._find(pod) if lacking is None else None
        if node is None:
            text = lacking or f"0/{len(self._snapshot)} nodes are available"
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
            known = [c for c in (pod.get("status") or {}).get("conditions") or () if c["type"] == "PodScheduled"]
            if not known or known[0].get("reason") != "Unschedulable":
                status = {**(pod.get("status") or {}), "conditions": [{**condition, "lastTransitionTime": self._now()}]}
                # As the stock scheduler does: a nomination ends with the first attempt that fails.
                status.pop("nominatedNodeName", None)
                self._storage.put(_PODS, {**pod, "status": status})
            return
        self._claims.reserve(pod)
        self._storage.put(_PODS, pods.bound(pod, node, self._now()))

    def _find(self, pod: raw.Object) -> str | None:
        shape = shapes.shape(pod["spec"], pod["metadata"].get("labels") or {})
        vector = self._snapshot.vector(shape.requests)
        if vector is None:
            return None
        mask = self._snapshot.eligible(pod["spec"])
        free = self._snapshot.free()
        for node, requests in self._snapshot.higher_nominations(pod["spec"].get("priority") or 0):
            row, held = self._snapshot.row_of(node), self._snapshot.vector(requests)
            if row is not None and held is not None:
                free[row] += held
        capacity = pack.capacities(free, vector, one_per_node=False)[: len(mask)]
        rows = np.flatnonzero(mask & (capacity > 0))
        if not len(rows):
            return None
        # Least allocated, as the stock scheduler scores by default.
        best = int(rows[int(capacity[rows].argmax())])
        return self._snapshot.node_names()[best]
