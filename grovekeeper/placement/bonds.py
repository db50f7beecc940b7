"""What the pods of one gang are to each other: who repels whom, who shares a domain, who goes where a peer is.

kube-scheduler binds a gang's pods in any order, and the pins have to hold in each (decision 0022). Shapes are named by
their position in the gang.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from grovekeeper.api import raw
from grovekeeper.placement import affinity
from grovekeeper.placement.snapshot import Snapshot

Ask = tuple[raw.Object, affinity.Peer]
"""The spec of a shape, and what others see of its pods."""


@dataclass(frozen=True, slots=True)
class United:
    """Shapes whose pods all share one domain of a label key: whoever is bound first fixes it for the others."""

    key: str
    members: frozenset[int]
    """Positions."""
    askers: frozenset[int]
    """Those of them whose affinity it is."""
    optional: bool = False
    """Whether the asker has no pods in the minimum: then it binds the others only once a pod of it has a place."""


@dataclass(frozen=True, slots=True)
class Following:
    """Pods that go where a peer is: in each key, a domain with a pod of others that is one, or one chosen before."""

    peers: frozenset[int]
    """Positions of the shapes of the gang that are peers; its own is not among them."""
    known: Mapping[str, frozenset[int]]
    """Domains with a peer that is on a node already, by label key."""


@dataclass(slots=True)
class Bonds:
    """What a shape's pods are to others of its gang."""

    repelled: set[tuple[str, int]] = field(default_factory=set)
    """(label key, position): not into a domain of the key where that shape has a pod; its own: one pod a domain."""
    united: list[United] = field(default_factory=list)
    following: Following | None = None
    keys: set[str] = field(default_factory=set)
    """Label keys under which it matters to others of the gang, or to the shape itself, where its pods are."""

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.keys)


def bonds(snapshot: Snapshot, asks: Sequence[Ask], needs: Sequence[int]) -> list[Bonds]:
    """Return the bonds of each shape; `needs` is how many pods of each are of the minimum.

    O(shapes^2 x terms), and O(pods in the cluster) for a shape with affinity.
    """
    result = [Bonds() for _ in asks]
    for position, ask in enumerate(asks):
        _repel(result, position, ask, asks)
    united: list[United] = []
    for position, (spec, me) in enumerate(asks):
        if not affinity.terms(spec, "podAffinity"):
            continue
        peers = frozenset(other for other, (_spec, peer) in enumerate(asks) if affinity.meets_all(spec, me, peer))
        known = affinity.homes_of_peers(snapshot, spec, me)
        if position in peers and not any(known.values()):
            united += [United(key, peers, frozenset({position}), not needs[position]) for key in known]
        else:
            result[position].following = Following(peers - {position}, known)
            for other in (position, *peers):
                result[other].keys |= known.keys()
    for each in _merged(united):
        for position in each.members:
            result[position].united.append(each)
            result[position].keys.add(each.key)
    return result


def _repel(result: Sequence[Bonds], position: int, ask: Ask, asks: Sequence[Ask]) -> None:
    """Note whom the anti-affinity of a shape means: it counts in both directions."""
    spec, me = ask
    for term in affinity.terms(spec, "podAntiAffinity"):
        key = term["topologyKey"]
        for other, (_spec, peer) in enumerate(asks):
            if affinity.selects(term, me.namespace, peer):
                for one, two in ((position, other), (other, position)):
                    result[one].repelled.add((key, two))
                    result[one].keys.add(key)


def stranded(known: Sequence[Bonds]) -> list[int]:
    """Return the positions of shapes that wait for peers of the gang only, none of which can come first."""
    follow = {position: mine.following for position, mine in enumerate(known) if mine.following}
    left = {position for position, mine in follow.items() if not any(mine.known.values())}
    while True:
        able = {position for position in left if follow[position].peers - left}
        if not able:
            return sorted(position for position in left if follow[position].peers)
        left -= able


def _merged(united: Iterable[United]) -> list[United]:
    """Return the sets that bind and overlap under one key made one: they share the domain of what they share."""
    result: list[United] = []
    for each in united:
        members, askers = each.members, each.askers
        for other in [one for one in result if one.key == each.key and one.members & members]:
            if not (other.optional or each.optional):
                result.remove(other)
                members, askers = members | other.members, askers | other.askers
        result.append(United(each.key, members, askers, each.optional))
    return sorted(result, key=lambda one: (one.key, sorted(one.members), sorted(one.askers)))
