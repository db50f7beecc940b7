"""The cluster as the engine sees it, kept up to date object by object: no rebuild per gang.

Charged are pods of everybody that have a node and have not finished (terminating ones too: their room is not free
yet), pods that we have assumed, and nominated pods. All arithmetic is on integer arrays, one row per node.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from grovekeeper.api import raw
from grovekeeper.placement import crowd, nodes, room
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Ints, Mask


@dataclass(slots=True)
class _Charge:
    node: str
    requests: shapes.Requests
    assumed: bool
    nominated_priority: int | None
    tenant: bool = True
    """False for pods that every node has, of a DaemonSet or the node's own: a node with only those is whole."""


class Snapshot:
    """Nodes, what is free on them, and where they are in the topology."""

    def __init__(self) -> None:
        self._nodes = nodes.Nodes()
        self._room = room.Room(self._nodes)
        self._charges: dict[str, _Charge] = {}
        self._by_node: dict[str, set[str]] = {}
        self._nominated: dict[str, _Charge] = {}
        """Those of the charges that are nominations."""
        self._freed = 0
        self._crowd = crowd.Crowd()
        self._lent: frozenset[str] = frozenset()
        """UIDs of pods that are not there at the moment, for asking "what if"."""

    def __len__(self) -> int:
        return len(self._nodes.numbers)

    @property
    def openings(self) -> int:
        """How often something has happened that may have made room: a charge went, a node came, changed or left.

        What did not fit at the same number does not fit now: charges may have been added since, nothing else.
        """
        return self._freed + self._nodes.epoch

    def upsert_node(self, node: raw.Object) -> bool:
        """Take in a node; return whether room may have grown (new, more resources, fewer taints, ready again)."""
        name = node["metadata"]["name"]
        row = self._nodes.put(node)
        if row is None:
            return False
        self._room.grow(row)
        try:
            offered = shapes.allocatable(node)
        except ValueError:
            # A quantity that is no number: the node offers nothing until it is mended; the others are not disturbed.
            offered = {}
        self._room.offer(row, offered)
        self._recount(row, name)
        return True

    def remove_node(self, name: str) -> None:
        """Forget a node; pods charged to it stay known."""
        row = self._nodes.remove(name)
        if row is not None:
            self._room.clear(row)

    def upsert_pod(self, pod: raw.Object, *, firm: bool = False) -> bool:
        """Take in a pod of anybody; return whether room may have grown. A `firm` nomination holds against everybody."""
        uid = pod["metadata"]["uid"]
        known = self._charges.get(uid)
        before = self._crowd.see(pod, charged=known is not None)
        node = pod["spec"].get("nodeName")
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return self._drop(uid)
        if node:
            if known is not None and known.node == node and known.nominated_priority is None:
                known.assumed = False
                same = before is not None and shapes.sizes(before) == shapes.sizes(pod)
                return False if same else self._resize(uid, known, self._of(pod))
            self._drop(uid)
            self._charge(uid, _Charge(node, self._of(pod), False, None, not _of_node(pod)))
            return False
        if known is not None and known.assumed:
            return False
        nominated = (pod.get("status") or {}).get("nominatedNodeName")
        grown = self._drop(uid) if known is not None and known.node != nominated else False
        if nominated and uid not in self._charges:
            priority = None if firm else pod["spec"].get("priority") or 0
            self._charge(uid, _Charge(nominated, self._of(pod), assumed=False, nominated_priority=priority))
        return grown

    def remove_pod(self, uid: str) -> bool:
        """Forget a pod; return whether that made room."""
        made = self._drop(uid)
        self._crowd.forget(uid)
        return made

    def stirs(self, namespaces: Iterable[str] | None) -> int:
        """Return how often pods of some namespaces (None: of all) came to a node, left it, or looked different there.

        Required affinity between pods that was not met at the same number, with the same `openings`, is not met now.
        """
        return self._crowd.stirs(namespaces)

    def assume(self, uid: str, spec: raw.Object, node: str) -> None:
        """Charge a pod to the node that we have chosen, until it is seen bound or forgotten."""
        self._drop(uid)
        self._charge(uid, _Charge(node, shapes.requests(spec), assumed=True, nominated_priority=None))

    def hand_over(self, uid: str, heir: str) -> bool:
        """Charge to `heir` what a pod is charged with; return whether it was charged at all."""
        known = self._charges.get(uid)
        if known is None:
            return False
        self._drop(uid)
        self._drop(heir)
        self._charge(heir, _Charge(known.node, known.requests, assumed=True, nominated_priority=None))
        return True

    def forget(self, uid: str) -> bool:
        """Take back an assumption; return whether there was one."""
        known = self._charges.get(uid)
        return self._drop(uid) if known is not None and known.assumed else False

    @contextmanager
    def without(self, uids: Iterable[str]) -> Iterator[None]:
        """Within the block, these pods are not there: for asking "what if". O(pods asked for)."""
        before = self._lent
        away = frozenset(uids) - before
        lent = [charge for uid in away if (charge := self._charges.get(uid)) is not None]
        spots = [(row, charge.requests) for charge in lent if (row := self._nodes.numbers.get(charge.node)) is not None]
        for row, requests in spots:
            self._room.take(row, requests, -1)
        self._lent = before | away
        try:
            yield
        finally:
            self._lent = before
            for row, requests in spots:
                self._room.take(row, requests, 1)

    def charged(
        self, *, repelling: bool = False, settled: bool = False, against: int | None = None
    ) -> Iterator[tuple[int, raw.Object]]:
        """Yield row and pod of all that is charged to a known node. O(pods).

        `repelling`: only those with anti-affinity. `settled`: only those that are bound or pinned, not the nominated.
        `against`: without nominated pods of a lower priority than this: they do not hold against the asker.

        A pod that is charged without having been seen (an assumption of a pod that no informer has brought yet) is
        not among them.
        """
        for uid, pod in self._crowd.pods(repelling=repelling).items():
            charge = self._charges.get(uid) if uid not in self._lent else None
            if charge is None or (settled and not charge.assumed and not pod["spec"].get("nodeName")):
                continue
            if against is not None and charge.nominated_priority is not None and charge.nominated_priority < against:
                continue
            row = self._nodes.numbers.get(charge.node)
            if row is not None:
                yield row, pod

    def tenants(self) -> Iterator[tuple[int, str]]:
        """Yield row and UID of each pod on a node, but for those that every node has. O(pods)."""
        for uid, charge in self._charges.items():
            row = self._nodes.numbers.get(charge.node)
            if row is not None and charge.tenant:
                yield row, uid

    def tenants_on(self, names: Iterable[str]) -> int:
        """Return how many pods are on these nodes, but for those that every node has."""
        rows = [row for name in names if (row := self._nodes.numbers.get(name)) is not None]
        return int(self._room.tenants[rows].sum())

    def freed(self, uids: Iterable[str]) -> dict[int, Ints]:
        """Return by row what these pods are charged there with. O(pods asked for)."""
        result: dict[int, Ints] = {}
        for uid in uids:
            charge = self._charges.get(uid)
            row = self._nodes.numbers.get(charge.node) if charge is not None else None
            vector = self._room.vector(charge.requests) if charge is not None else None
            if row is not None and vector is not None:
                result[row] = result[row] + vector if row in result else vector
        return result

    def release(self, uid: str) -> bool:
        """Take back what a pod is charged with, and go on knowing the pod; return whether that made room."""
        return self._drop(uid)

    def node_of(self, uid: str) -> str | None:
        """Return the node that a pod is charged to: bound, assumed or nominated."""
        known = self._charges.get(uid)
        return known.node if known is not None else None

    def forget_all(self) -> None:
        """Take back all assumptions."""
        for uid in [uid for uid, charge in self._charges.items() if charge.assumed]:
            self._drop(uid)

    def holds(self, spec: raw.Object, node: str) -> bool:
        """Return whether a node has the room for all that is charged to it, in what this (charged) pod asks for."""
        row, vector = self._nodes.numbers.get(node), self._room.vector(shapes.requests(spec))
        if row is None or vector is None:
            return False
        free = self._room.free[row]
        if (free[vector > 0] < 0).any():
            free = free.copy()
            for other, requests in self.higher_nominations(spec.get("priority") or 0):
                more = self._room.vector(requests) if other == node else None
                free += more if more is not None else 0
        return not (free[vector > 0] < 0).any()

    def node_names(self) -> Sequence[str | None]:
        """Return the node name of each row; None where a row is empty."""
        return self._nodes.names

    def rows(self) -> Ints:
        """Return the rows that hold a node; cached until the nodes change."""
        return self._nodes.rows()

    def epoch(self) -> int:
        """Return a number that changes when anything does that placement reads of nodes."""
        return self._nodes.epoch

    def height(self) -> int:
        """Return how many rows the arrays have, empty ones included."""
        return len(self._room.free)

    def row_of(self, name: str) -> int | None:
        """Return the row of a node."""
        return self._nodes.numbers.get(name)

    def free(self) -> Ints:
        """Return a copy of what is free, nodes by resources."""
        return self._room.free.copy()

    def whole(self) -> Mask:
        """Return which rows have nothing on them but what every node has."""
        result: Mask = self._room.tenants == 0
        return result

    def vector(self, requests: Mapping[str, int]) -> Ints | None:
        """Return a request as a row; None where some resource is on no node at all."""
        return self._room.vector(requests)

    def resource_names(self) -> list[str]:
        """Return resource names by column."""
        return list(self._room.columns)

    def eligible(self, spec: raw.Object) -> Mask:
        """Return which nodes may take the pod at all: ready, tolerated, selected. Not to be changed."""
        return self._nodes.eligible(spec)

    def could(self, spec: raw.Object) -> Mask:
        """Return which nodes may take the pod when those that are cordoned or not ready are back. Not to be changed."""
        return self._nodes.could(spec)

    def refusals(self, spec: raw.Object) -> list[tuple[int, str]]:
        """Return row and reason of each node that may not take the pod whatever room it has. Not to be changed."""
        return self._nodes.refusals(spec)

    def domains(self, key: str) -> tuple[Ints, list[str]]:
        """Return for a label key each row's domain number (-1: no such label) and the domains' names."""
        return self._nodes.domains(key, len(self._room.free))

    def totals(self) -> Ints:
        """Return what each node offers when empty, but for the pods that every node has: those are always there."""
        result: Ints = np.maximum(self._room.total - self._room.resident, 0)
        return result

    def higher_nominations(self, priority: int) -> Iterable[tuple[str, shapes.Requests]]:
        """Yield node and requests of nominated pods of lower priority than the asker: they do not hold against it."""
        for charge in self._nominated.values():
            if charge.nominated_priority is not None and charge.nominated_priority < priority:
                yield charge.node, charge.requests

    def _of(self, pod: raw.Object) -> shapes.Requests:
        try:
            return shapes.held(pod)
        except ValueError:
            return {}

    def _resize(self, uid: str, charge: _Charge, requests: shapes.Requests) -> bool:
        """Charge a pod with what it has now; return whether that made room."""
        if charge.requests == requests:
            return False
        freed = self._freed
        self._drop(uid)
        self._charge(uid, replace(charge, requests=requests))
        grown = any(requests.get(name, 0) < amount for name, amount in charge.requests.items())
        self._freed = freed + grown
        return grown

    def _recount(self, row: int, name: str) -> None:
        self._room.free[row] = self._room.total[row]
        self._room.resident[row] = 0
        self._room.tenants[row] = 0
        for uid in self._by_node.get(name, ()):
            self._room.count(row, self._charges[uid].requests, 1, tenant=self._charges[uid].tenant)

    def _charge(self, uid: str, charge: _Charge) -> None:
        self._charges[uid] = charge
        self._crowd.stir(uid)
        self._by_node.setdefault(charge.node, set()).add(uid)
        if charge.nominated_priority is not None:
            self._nominated[uid] = charge
        row = self._nodes.numbers.get(charge.node)
        if row is not None:
            self._room.count(row, charge.requests, 1, tenant=charge.tenant)

    def _drop(self, uid: str) -> bool:
        charge = self._charges.pop(uid, None)
        if charge is None:
            return False
        self._freed += 1
        self._crowd.stir(uid)
        self._by_node[charge.node].discard(uid)
        self._nominated.pop(uid, None)
        row = self._nodes.numbers.get(charge.node)
        if row is not None:
            self._room.count(row, charge.requests, -1, tenant=charge.tenant)
        return True


def _of_node(pod: raw.Object) -> bool:
    """Return whether a pod is there because the node is: of a DaemonSet, or the kubelet's own."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("kind") in ("DaemonSet", "Node") for owner in owners)
