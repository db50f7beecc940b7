"""A kube-scheduler on paper, for pods that are pinned: which may bind now, and what becomes of all of them.

Written after kube-scheduler's documented rules (resources, required affinity and anti-affinity between pods) and from
nothing of the placement engine's, so that it can judge the engine.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with the node that it is on, or is pinned to."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    spec: Object
    node: str

    def terms(self, kind: str) -> list[Object]:
        """Return its required terms of podAffinity or podAntiAffinity."""
        return list(((self.spec.get("affinity") or {}).get(kind) or {}).get(_REQUIRED) or [])

    def gpus(self) -> int:
        """Return how many GPUs it asks for."""
        return sum(int(c["resources"]["limits"]["nvidia.com/gpu"]) for c in self.spec["containers"])

    def means_itself(self) -> bool:
        """Return whether it asks for peers and is one itself."""
        terms = self.terms("podAffinity")
        return bool(terms) and all(_meant(self, term, self) for term in terms)


@dataclass(slots=True)
class Cluster:
    """Nodes, and the pods that are bound."""

    nodes: Mapping[str, Object]
    bound: list[Pod] = field(default_factory=list)

    def why_not(self, pod: Pod) -> str | None:
        """Return why kube-scheduler would refuse the pod its node now, or None."""
        here = self.nodes[pod.node]
        offered = here["status"]["allocatable"]
        mates = [other for other in self.bound if other.node == pod.node]
        if sum(other.gpus() for other in mates) + pod.gpus() > int(offered["nvidia.com/gpu"]):
            return "GPUs"
        if len(mates) + 1 > int(offered["pods"]):
            return "pods"
        for other in self.bound:
            if any(_meant(pod, t, other) and self._shared(pod, other, t) for t in pod.terms("podAntiAffinity")):
                return "anti-affinity"
            if any(_meant(other, t, pod) and self._shared(pod, other, t) for t in other.terms("podAntiAffinity")):
                return "anti-affinity of others"
        return None if self._has_peers(pod) else "affinity"

    def _has_peers(self, pod: Pod) -> bool:
        terms = pod.terms("podAffinity")
        keys = {term["topologyKey"] for term in terms}
        if not keys <= self.nodes[pod.node]["metadata"]["labels"].keys():
            return False
        # Whom one of the terms leaves out is no peer for the others either.
        peers = [other for other in self.bound if all(_meant(pod, term, other) for term in terms)]
        if all(any(self._shared(pod, peer, term) for peer in peers) for term in terms):
            return True
        anywhere = any(keys & self.nodes[peer.node]["metadata"]["labels"].keys() for peer in peers)
        return not anywhere and pod.means_itself()

    def _shared(self, one: Pod, other: Pod, term: Object) -> bool:
        mine, theirs = (self.nodes[pod.node]["metadata"]["labels"].get(term["topologyKey"]) for pod in (one, other))
        return mine is not None and mine == theirs


def bind(cluster: Cluster, pods: Sequence[Pod], chance: random.Random) -> tuple[list[str], list[str]]:
    """Bind pods in a random order, those refused again and again; return who never was bound, and first refusals.

    A refusal is told as "pod: why".
    """
    waiting = list(pods)
    refusals: list[str] = []
    idle = 0
    chance.shuffle(waiting)
    while waiting and idle < len(waiting):
        pod = waiting.pop(0)
        why = cluster.why_not(pod)
        if why is None:
            cluster.bound.append(pod)
            idle = 0
            chance.shuffle(waiting)
            continue
        refusals.append(f"{pod.name}: {why}")
        waiting.append(pod)
        idle += 1
    return [pod.name for pod in waiting], refusals


def safe(cluster: Cluster, pods: Sequence[Pod]) -> bool:
    """Return whether all pods are bound whatever the order, and who could be the first of its kind never waits.

    Looks at every set of pods that may be bound at some moment: 2^pods at most.
    """
    before = list(cluster.bound)
    free_to_begin = {p.name for p in pods if p.means_itself() and not known(p, before)}
    everyone = frozenset(range(len(pods)))
    seen: set[frozenset[int]] = set()
    moments = [frozenset[int]()]
    try:
        while moments:
            there = moments.pop()
            if there in seen or there == everyone:
                continue
            seen.add(there)
            cluster.bound = [*before, *(pods[i] for i in there)]
            next_ = [i for i in everyone - there if cluster.why_not(pods[i]) is None]
            refused = {pods[i].name for i in everyone - there} - {pods[i].name for i in next_}
            if not next_ or refused & free_to_begin:
                return False
            moments += [there | {i} for i in next_]
        return True
    finally:
        cluster.bound = before


def known(pod: Pod, others: Sequence[Pod]) -> bool:
    """Return whether a peer that a pod asks for is among others."""
    return any(all(_meant(pod, term, other) for term in pod.terms("podAffinity")) for other in others)


def _meant(owner: Pod, term: Object, other: Pod) -> bool:
    """Return whether a term of a pod means another: its namespace and its labels."""
    names, selector = term.get("namespaces") or [], term.get("namespaceSelector")
    inside = other.namespace in names or (not names and selector is None and other.namespace == owner.namespace)
    if selector is not None:
        inside = inside or _matches(selector, {"kubernetes.io/metadata.name": other.namespace})
    return inside and "labelSelector" in term and _matches(term["labelSelector"], other.labels)


def _matches(selector: Object, labels: Mapping[str, str]) -> bool:
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return equal and all(
        (labels.get(entry["key"]) in entry["values"]) == (entry["operator"] == "In")
        for entry in selector.get("matchExpressions", [])
    )
