"""The gang as the search sees it: a tree of units with a constraint each, and at the leaves pods of one shape.

gang -> scaling-group replicas (subgangs) -> cliques (groups) -> parts. A clique has one part for each shape among its
pods: in the middle of an update it has pods of two templates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from grovekeeper.api import names, raw
from grovekeeper.placement import affinity, request
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Ints, Mask
from grovekeeper.placement.snapshot import Snapshot


@dataclass(slots=True)
class Part:
    """Pods of one shape of one clique."""

    name: str
    """The clique's."""
    pods: tuple[request.PodAsk, ...]
    need: int
    """Pods of the minimum that still want a node."""
    shape: shapes.Shape
    vector: Ints
    eligible: Mask
    """Which rows may take the pods, whatever else is there now."""
    allowed: Mask
    """Those of them that are not kept for others, and where no pod forbids it."""
    position: int = 0
    """Among the parts of the gang."""
    bonds: affinity.Bonds = field(default_factory=affinity.Bonds)

    def weight(self) -> int:
        """Return how hard the part is to place: pods times what they ask for of the scarcest-looking resource."""
        return self.need * self.size()

    def size(self) -> int:
        """Return what one pod asks for of the scarcest-looking resource."""
        return int(self.vector[1:].max(initial=1))


@dataclass(slots=True)
class Unit:
    """Parts and units that share a constraint."""

    constraint: request.Constraint = field(default_factory=request.Constraint)
    parts: list[Part] = field(default_factory=list)
    units: list["Unit"] = field(default_factory=list)
    groups: frozenset[str] = frozenset()
    """Names of the cliques inside: their pods that have a node bind the unit."""
    family: str = ""
    """Units of one family are spread against each other."""
    spread: tuple[request.Spread, ...] = ()
    """Of this unit against its siblings."""
    peers: tuple[tuple[str, ...], ...] = ()
    pods_spread: tuple[request.Spread, ...] = ()
    """Of the pods of a clique among themselves."""

    def leaves(self) -> Iterator[Part]:
        """Yield all parts."""
        yield from self.parts
        for unit in self.units:
            yield from unit.leaves()

    def everyone(self) -> Iterator["Unit"]:
        """Yield this unit and all inside it."""
        yield self
        for unit in self.units:
            yield from unit.everyone()


def tree(gang: request.GangAsk, snapshot: Snapshot) -> Unit | request.Reasons:
    """Return the gang's units, or why it cannot be placed whatever room there is."""
    groups: dict[str, Unit] = {}
    parts: list[Part] = []
    for group in gang.groups:
        here = sum(1 for name, _node in gang.fixed.values() if name == group.name)
        need = max(0, group.minimum - here)
        if need > len(group.pods):
            return request.Reasons(f"{group.name}: {need - len(group.pods)} pods of the minimum do not exist yet")
        found = _parts(group, need, gang, snapshot)
        if isinstance(found, request.Reasons):
            return found
        if found:
            parts += found
            itself = frozenset({group.name})
            groups[group.name] = Unit(group.constraint, found, groups=itself, pods_spread=group.spread)
    if not gang.groups or not parts:
        return Unit(gang.constraint, spread=gang.spread, peers=gang.spread_peers)
    _bind(parts, gang, snapshot)
    for unit in groups.values():
        unit.parts.sort(key=lambda part: -part.size())
    units = []
    taken: set[str] = set()
    for sub in gang.subgangs:
        mine = [groups[name] for name in sub.groups if name in groups]
        taken.update(sub.groups)
        if mine:
            inside = frozenset(sub.groups)
            units.append(Unit(sub.constraint, [], mine, inside, sub.family, sub.spread, sub.spread_peers))
    units += [unit for name, unit in groups.items() if name not in taken]
    every = frozenset(group.name for group in gang.groups)
    root = Unit(gang.constraint, [], units, every, "", gang.spread, gang.spread_peers)
    for unit in root.everyone():
        unit.units.sort(key=_order)
    return root


def _order(unit: Unit) -> tuple[bool, bool, int, int]:
    """Those that wait for a peer last; those with a constraint first, then the largest."""
    leaves = list(unit.leaves())
    follows = any(part.bonds.attracted for part in leaves)
    weight = max(part.weight() for part in leaves)
    return follows, unit.constraint.required is None, -max(part.size() for part in leaves), -weight


def _parts(
    group: request.GroupAsk, need: int, gang: request.GangAsk, snapshot: Snapshot
) -> list[Part] | request.Reasons:
    """Return a group's parts, a part for each shape; the first pods are the minimum."""
    closed = [row for name in gang.closed if (row := snapshot.row_of(name)) is not None]
    result = []
    for pods, needed in _alike(group.pods, need):
        first = pods[0]
        try:
            shape = shapes.shape(first.spec, first.labels)
        except ValueError as error:
            return request.Reasons(f"{group.name}: {error}", never=True)
        vector = snapshot.vector(shape.requests)
        if vector is None:
            known = snapshot.resource_names()
            absent = next(name for name in shape.requests if name not in known)
            return request.Reasons(f"{group.name}: no node has any {absent}", never=True)
        eligible = np.zeros(snapshot.height(), dtype=np.bool_)
        mask = snapshot.eligible(shape.spec)
        eligible[: len(mask)] = mask
        allowed = eligible.copy()
        allowed[closed] = False
        result.append(Part(group.name, tuple(pods), needed, shape, vector, eligible, allowed))
    # A host port that only a later shape asks for is a column that the vectors before it lack.
    width = max((len(part.vector) for part in result), default=0)
    for part in result:
        part.vector = _widened(part.vector, width)
    return result


def _widened(vector: Ints, width: int) -> Ints:
    return vector if len(vector) == width else np.pad(vector, (0, width - len(vector)))


def _alike(pods: Sequence[request.PodAsk], need: int) -> list[tuple[list[request.PodAsk], int]]:
    """Return pods by shape, and how many of each are among the first `need`. O(pods x shapes)."""
    known: list[tuple[list[object], Mapping[str, str], list[request.PodAsk]]] = []
    counts: list[int] = []
    before: raw.Object | None = None
    position = 0
    for number, pod in enumerate(pods):
        if pod.spec is not before:
            likeness = shapes.likeness(pod.spec)
            labels = pod.labels if (pod.spec.get("affinity") or {}).get("podAntiAffinity") else {}
            same = (i for i, one in enumerate(known) if one[0] == likeness and _like(one[1], labels))
            position = next(same, len(known))
            if position == len(known):
                known.append((likeness, labels, []))
                counts.append(0)
            before = pod.spec
        known[position][2].append(pod)
        counts[position] += number < need
    return [(entry[2], count) for entry, count in zip(known, counts, strict=True)]


def _like(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether labels are the same but for those that number the pod."""
    return all(one.get(key) == value for key, value in other.items() if key != names.LABEL_POD_INDEX)


def _bind(parts: list[Part], gang: request.GangAsk, snapshot: Snapshot) -> None:
    """Set positions and bonds, widen vectors, and take out rows that pods on nodes forbid."""
    width = len(snapshot.resource_names())
    asks = [(part.shape.spec, affinity.Peer(gang.namespace, part.pods[0].labels)) for part in parts]
    for part, (bonds, ignored) in zip(parts, affinity.bonds(snapshot, asks), strict=True):
        part.position = next(i for i, each in enumerate(parts) if each is part)
        part.vector = _widened(part.vector, width)
        part.bonds = bonds
        open_ = affinity.allowed(snapshot, part.shape.spec, asks[part.position][1], ignored)
        if open_ is not None:
            part.allowed &= open_
