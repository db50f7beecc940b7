"""Required affinity and anti-affinity between pods, judged before a pod is pinned: kube-scheduler could only refuse.

Against pods that are on nodes already: domains with a pod that repels (either way) are left out, and where an affinity
asks for a peer, domains without one are. Between parts of one gang: see `Bonds`. A term's `namespaceSelector` that is
not empty is read as "all namespaces": refuses a domain too many, never one too few. Cost: O(pods in the cluster) for a
shape that has terms, O(pods with anti-affinity) for any other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from grovekeeper.api import raw
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Mask
from grovekeeper.placement.snapshot import Snapshot

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Peer:
    """A pod as a term sees it."""

    namespace: str
    labels: Mapping[str, str]


@dataclass(slots=True)
class Bonds:
    """What a shape's pods are to others of its gang, by position of the other shape, as (label key, position)."""

    repelled: set[tuple[str, int]] = field(default_factory=set)
    """Not into a domain of `key` where that shape has a pod; its own position: one pod a domain."""
    attracted: set[tuple[str, int]] = field(default_factory=set)
    """Into a domain of `key` where that shape has a pod."""
    together: set[str] = field(default_factory=set)
    """Label keys: all pods of the shape in one domain, since the first finds no other peer than its siblings."""


def terms(spec: raw.Object, kind: str) -> Sequence[raw.Object]:
    """Return the required terms of `podAffinity` or `podAntiAffinity`."""
    found: Sequence[raw.Object] = ((spec.get("affinity") or {}).get(kind) or {}).get(_REQUIRED) or ()
    return found


def selects(term: raw.Object, owner: str, peer: Peer) -> bool:
    """Return whether a term of a pod in namespace `owner` selects a peer."""
    named = term.get("namespaces") or ()
    everywhere = term.get("namespaceSelector") is not None
    inside = everywhere or peer.namespace in named or (not named and peer.namespace == owner)
    return inside and shapes.selects(term.get("labelSelector"), peer.labels)


def allowed(snapshot: Snapshot, spec: raw.Object, me: Peer, ignored: Sequence[raw.Object] = ()) -> Mask | None:
    """Return which rows pods on nodes leave open to this pod; None where all are. `ignored`: affinity terms to skip."""
    result: Mask | None = None
    for key, ok, domains in _verdicts(snapshot, spec, me, ignored):
        ids, _names = snapshot.domains(key)
        found = np.isin(ids, sorted(domains))
        mask: Mask = found if ok else ~found
        result = mask if result is None else result & mask
    return result


def _verdicts(
    snapshot: Snapshot, spec: raw.Object, me: Peer, ignored: Sequence[raw.Object]
) -> Iterator[tuple[str, bool, set[int]]]:
    """Yield label key, whether the domains are the only good ones (else: the bad ones), and the domains."""
    others = [(row, _peer(pod)) for row, pod in snapshot.charged()] if _any(spec) else []
    for term in terms(spec, "podAntiAffinity"):
        yield term["topologyKey"], False, _domains(snapshot, term, me.namespace, others)
    for term in terms(spec, "podAffinity"):
        if term not in ignored:
            yield term["topologyKey"], True, _domains(snapshot, term, me.namespace, others)
    repelled: dict[str, set[int]] = {}
    for row, pod in snapshot.charged(repelling=True):
        for term in terms(pod["spec"], "podAntiAffinity"):
            if selects(term, _peer(pod).namespace, me):
                number = int(snapshot.domains(term["topologyKey"])[0][row])
                repelled.setdefault(term["topologyKey"], set()).add(number)
    for key, domains in repelled.items():
        yield key, False, domains - {-1}


def bonds(snapshot: Snapshot, asks: Sequence[tuple[raw.Object, Peer]]) -> list[tuple[Bonds, list[raw.Object]]]:
    """Return for each shape its bonds to the others, and the affinity terms that the gang itself meets.

    O(shapes^2 x terms), and O(pods) for shapes with affinity.
    """
    result: list[tuple[Bonds, list[raw.Object]]] = [(Bonds(), []) for _ in asks]
    for position, (spec, me) in enumerate(asks):
        mine, ignored = result[position]
        for term in terms(spec, "podAntiAffinity"):
            for other, (_spec, peer) in enumerate(asks):
                if selects(term, me.namespace, peer):
                    mine.repelled.add((term["topologyKey"], other))
                    result[other][0].repelled.add((term["topologyKey"], position))
        for term in terms(spec, "podAffinity"):
            if any(selects(term, me.namespace, _peer(pod)) for _row, pod in snapshot.charged()):
                continue
            if selects(term, me.namespace, me):
                mine.together.add(term["topologyKey"])
                ignored.append(term)
                continue
            found = [other for other, (_spec, peer) in enumerate(asks) if selects(term, me.namespace, peer)]
            if found:
                mine.attracted.add((term["topologyKey"], found[0]))
                ignored.append(term)
    return result


def _any(spec: raw.Object) -> bool:
    return bool(terms(spec, "podAntiAffinity") or terms(spec, "podAffinity"))


def _domains(snapshot: Snapshot, term: raw.Object, owner: str, others: Sequence[tuple[int, Peer]]) -> set[int]:
    ids, _names = snapshot.domains(term["topologyKey"])
    return {int(ids[row]) for row, peer in others if ids[row] >= 0 and selects(term, owner, peer)}


def _peer(pod: raw.Object) -> Peer:
    metadata = pod["metadata"]
    return Peer(metadata.get("namespace", ""), metadata.get("labels") or {})
