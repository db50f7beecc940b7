"""Required affinity and anti-affinity against pods that are on nodes, judged before a pod is pinned.

Domains with a pod that repels (either way) are left out; where affinity asks for a peer, the domains that have one are
told. What pods of one gang are to each other: see `bonds`. Of a namespace only its name is known: what a
`namespaceSelector` says of other labels is taken as met, which for anti-affinity refuses a domain too many, never one
too few. Cost: O(pods in the cluster) for a shape that has terms, O(pods with anti-affinity) for any other.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grovekeeper.api import raw
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Mask
from grovekeeper.placement.snapshot import Snapshot

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_NAME = "kubernetes.io/metadata.name"
"""The label that every namespace has: its name."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A pod as a term sees it."""

    namespace: str
    labels: Mapping[str, str]


def terms(spec: raw.Object, kind: str) -> Sequence[raw.Object]:
    """Return the required terms of `podAffinity` or `podAntiAffinity`."""
    found: Sequence[raw.Object] = ((spec.get("affinity") or {}).get(kind) or {}).get(_REQUIRED) or ()
    return found


def selects(term: raw.Object, owner: str, peer: Peer) -> bool:
    """Return whether a term of a pod in namespace `owner` selects a peer."""
    return _reaches(term, owner, peer.namespace) and shapes.selects(term.get("labelSelector"), peer.labels)


def _reaches(term: raw.Object, owner: str, namespace: str) -> bool:
    """Return whether a term is about pods of a namespace, or may be: of a namespace only its name is known."""
    named, selector = term.get("namespaces") or (), term.get("namespaceSelector")
    if namespace in named or (not named and selector is None and namespace == owner):
        return True
    if selector is None:
        return False
    told = {key: value for key, value in (selector.get("matchLabels") or {}).items() if key == _NAME}
    rules = [entry for entry in selector.get("matchExpressions") or () if entry["key"] == _NAME]
    return shapes.selects({"matchLabels": told, "matchExpressions": rules}, {_NAME: namespace})


class Views:
    """Terms that look at a gang's pods. Pods on which all of them agree are alike, whatever else their labels say."""

    def __init__(self, namespace: str, looks: Iterable[tuple[raw.Object, str]]) -> None:
        """Take terms, each with the namespace of the pod that has it, and the namespace of the gang."""
        self._namespace = namespace
        self._looks = list({json.dumps(look, sort_keys=True): look for look in looks}.values())
        selectors = [term.get("labelSelector") or {} for term, _owner in self._looks]
        self._keys = sorted(
            {key for each in selectors for key in each.get("matchLabels") or ()}
            | {entry["key"] for each in selectors for entry in each.get("matchExpressions") or ()}
        )
        self._known: dict[tuple[str | None, ...], tuple[bool, ...]] = {}

    def of(self, labels: Mapping[str, str]) -> tuple[bool, ...]:
        """Return which terms select a pod with these labels."""
        if not self._looks:
            return ()
        told = tuple(labels.get(key) for key in self._keys)
        if told not in self._known:
            peer = Peer(self._namespace, labels)
            self._known[told] = tuple(selects(term, owner, peer) for term, owner in self._looks)
        return self._known[told]


def views(snapshot: Snapshot, namespace: str, specs: Iterable[raw.Object]) -> Views:
    """Return how a gang's pods with these specs, and pods on nodes that repel others, look at the gang's pods."""
    looks: list[tuple[raw.Object, str]] = []
    before: raw.Object = {}
    for spec in specs:
        affinity = spec.get("affinity")
        if affinity and affinity != before:
            before = affinity
            looks += [(term, namespace) for kind in ("podAffinity", "podAntiAffinity") for term in terms(spec, kind)]
    for _row, pod in snapshot.charged(repelling=True):
        looks += [(term, peer_of(pod).namespace) for term in terms(pod["spec"], "podAntiAffinity")]
    return Views(namespace, looks)


def meets_all(spec: raw.Object, me: Peer, other: Peer) -> bool:
    """Return whether a pod is a peer for `me`: whom one podAffinity term leaves out is none for the others either."""
    return all(selects(term, me.namespace, other) for term in terms(spec, "podAffinity"))


def homes_of_peers(snapshot: Snapshot, spec: raw.Object, me: Peer) -> dict[str, frozenset[int]]:
    """Return by `topologyKey` of the podAffinity terms the domains with a peer that is on a node, or pinned to one.

    All are empty where kube-scheduler would let a first pod of its kind go anywhere. O(pods in the cluster).
    """
    rows = {row for row, pod in snapshot.charged(settled=True) if meets_all(spec, me, peer_of(pod))}
    keys = dict.fromkeys(term["topologyKey"] for term in terms(spec, "podAffinity"))
    return {key: frozenset(snapshot.domains(key)[0][sorted(rows)].tolist()) - {-1} for key in keys}


def allowed(snapshot: Snapshot, spec: raw.Object, me: Peer, priority: int = 0) -> Mask | None:
    """Return which rows anti-affinity with pods on nodes leaves open to this pod, either way; None where all are.

    `priority` is the gang's: pods of a lower one that are only nominated to a node do not count.
    """
    closed: dict[str, set[int]] = {}
    for term in terms(spec, "podAntiAffinity"):
        rows = [row for row, pod in snapshot.charged(against=priority) if selects(term, me.namespace, peer_of(pod))]
        _close(closed, snapshot, term, rows)
    for row, pod in snapshot.charged(repelling=True, against=priority):
        for term in terms(pod["spec"], "podAntiAffinity"):
            if selects(term, peer_of(pod).namespace, me):
                _close(closed, snapshot, term, [row])
    result: Mask | None = None
    for key, domains in closed.items():
        mask: Mask = ~np.isin(snapshot.domains(key)[0], sorted(domains - {-1}))
        result = mask if result is None else result & mask
    return result


def _close(closed: dict[str, set[int]], snapshot: Snapshot, term: raw.Object, rows: Sequence[int]) -> None:
    key = term["topologyKey"]
    closed.setdefault(key, set()).update(snapshot.domains(key)[0][list(rows)].tolist())


def peer_of(pod: raw.Object) -> Peer:
    """Return a stored pod as a term sees it."""
    metadata = pod["metadata"]
    return Peer(metadata.get("namespace", ""), metadata.get("labels") or {})
