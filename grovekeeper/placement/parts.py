"""The gang as the search sees it: a tree of units with a constraint each, and at the leaves pods of one shape.

gang -> scaling-group replicas (subgangs) -> cliques (groups) -> parts. A clique has one part for each shape among its
pods: in the middle of an update it has pods of two templates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from grovekeeper.api import raw
from grovekeeper.placement import affinity, request
from grovekeeper.placement import bonds as bonding
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
    bonds: bonding.Bonds = field(default_factory=bonding.Bonds)

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
    within: tuple[str, ...] = ()
    """Label keys of the levels of which all that it is part of shares a domain."""
    united: list[bonding.United] = field(default_factory=list)
    """Sets of parts that share a domain, of which this is the smallest unit that contains them."""

    def leaves(self) -> Iterator[Part]:
        """Yield all parts."""
        yield from self.parts
        for unit in self.units:
            yield from unit.leaves()

    def binding(self) -> tuple[str, ...]:
        """Return the label keys of the levels of which everything inside has to share a domain."""
        keys = (self.constraint.required, *(rule.level for rule in self.spread if rule.required))
        return tuple(key for key in keys if key is not None)

    def everyone(self) -> Iterator["Unit"]:
        """Yield this unit and all inside it."""
        yield self
        for unit in self.units:
            yield from unit.everyone()


def tree(gang: request.GangAsk, snapshot: Snapshot) -> Unit | request.Reasons:
    """Return the gang's units, or why it cannot be placed whatever room there is."""
    groups: dict[str, Unit] = {}
    parts: list[Part] = []
    views = affinity.views(snapshot, gang.namespace, (pod.spec for group in gang.groups for pod in group.pods))
    for group in gang.groups:
        here = sum(1 for name, _node in gang.fixed.values() if name == group.name)
        need = max(0, group.minimum - here)
        if need > len(group.pods):
            return request.Reasons(f"{group.name}: {need - len(group.pods)} pods of the minimum do not exist yet")
        found = _parts(group, need, gang, snapshot, views)
        if isinstance(found, request.Reasons):
            return found
        if found:
            parts += found
            itself = frozenset({group.name})
            groups[group.name] = Unit(group.constraint, found, groups=itself, pods_spread=group.spread)
    if not gang.groups or not parts:
        return Unit(gang.constraint)
    _bind(parts, gang, snapshot)
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
    for each in dict.fromkeys(each for part in parts for each in part.bonds.united):
        _smallest(root, each.members).united.append(each)
    _sort(root, set())
    _confine(root)
    return root


def _confine(unit: Unit) -> None:
    """Tell each unit inside what binds all that it is part of."""
    for each in unit.units:
        each.within = (*unit.within, *unit.binding())
        _confine(each)


def _smallest(unit: Unit, members: frozenset[int]) -> Unit:
    """Return the smallest unit that contains all these parts."""
    for each in unit.units:
        if members <= {part.position for part in each.leaves()}:
            return _smallest(each, members)
    return unit


def _sort(unit: Unit, before: set[int]) -> None:
    """Put what is inside a unit into the order in which it is placed; `before` are the positions placed by then.

    Those that follow others come after them, but where they follow each other; otherwise those with a constraint come
    first, then the largest. O(units^2) where parts follow others.
    """
    unit.parts.sort(key=lambda part: (part.bonds.following is not None, -part.size()))
    unit.units.sort(key=_order)
    before |= {part.position for part in unit.parts}
    follow = any(part.bonds.following for part in unit.leaves())
    left = list(unit.units)
    for place in range(len(left)):
        open_ = {part.position for each in left for part in each.leaves() if part.need} if follow else set()
        each = min(left, key=lambda one: _lacks(one, before, open_)) if follow else left[0]
        left.remove(each)
        unit.units[place] = each
        _sort(each, before)


def _lacks(unit: Unit, before: set[int], open_: set[int]) -> tuple[int, int]:
    """Return how many parts of a unit follow nobody that is placed, and how many peers elsewhere are still to come."""
    mine = {part.position for part in unit.leaves()}
    waits = [part.bonds.following for part in unit.leaves() if part.bonds.following and part.need]
    lost = sum(not any(each.known.values()) and not each.peers & (before | mine) for each in waits)
    return lost, sum(len((each.peers & open_) - mine) for each in waits)


def _order(unit: Unit) -> tuple[bool, int, int]:
    """Those with a constraint first, then the largest."""
    leaves = list(unit.leaves())
    free = unit.constraint.required is None and not any(part.bonds.united for part in leaves)
    return free, -max(part.size() for part in leaves), -max(part.weight() for part in leaves)


def _parts(
    group: request.GroupAsk, need: int, gang: request.GangAsk, snapshot: Snapshot, views: affinity.Views
) -> list[Part] | request.Reasons:
    """Return a group's parts, a part for each shape; the first pods are the minimum."""
    closed = [row for name in gang.closed if (row := snapshot.row_of(name)) is not None]
    avoid = [row for name in gang.avoid if (row := snapshot.row_of(name)) is not None]
    result = []
    for pods, needed in _alike(group.pods, need, views):
        first = pods[0]
        try:
            shape = shapes.shape(first.spec, first.labels)
        except ValueError as error:
            return request.Reasons(f"{group.name}: {error}", never=True)
        vector = snapshot.vector(shape.requests)
        if vector is None:
            known = snapshot.resource_names()
            absent = shapes.scarcest(name for name in shape.requests if name not in known)
            return request.Reasons(f"{group.name}: no node has any {absent}", never=True)
        eligible = np.zeros(snapshot.height(), dtype=np.bool_)
        mask = snapshot.eligible(shape.spec)
        eligible[: len(mask)] = mask
        eligible[avoid] = False
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


def _alike(pods: Sequence[request.PodAsk], need: int, views: affinity.Views) -> list[tuple[list[request.PodAsk], int]]:
    """Return pods by shape, and how many of each are among the first `need`. O(pods x shapes)."""
    known: list[tuple[list[object], tuple[bool, ...], list[request.PodAsk]]] = []
    counts: list[int] = []
    before: tuple[raw.Object, tuple[bool, ...]] | None = None
    position = 0
    for number, pod in enumerate(pods):
        seen = views.of(pod.labels)
        if before is None or pod.spec is not before[0] or seen != before[1]:
            likeness = shapes.likeness(pod.spec)
            same = (i for i, one in enumerate(known) if one[0] == likeness and one[1] == seen)
            position = next(same, len(known))
            if position == len(known):
                known.append((likeness, seen, []))
                counts.append(0)
            before = pod.spec, seen
        known[position][2].append(pod)
        counts[position] += number < need
    return [(entry[2], count) for entry, count in zip(known, counts, strict=True)]


def _bind(parts: list[Part], gang: request.GangAsk, snapshot: Snapshot) -> None:
    """Set positions and bonds, widen vectors, and take out rows that pods on nodes forbid."""
    width = len(snapshot.resource_names())
    asks = [(part.shape.spec, affinity.Peer(gang.namespace, part.pods[0].labels)) for part in parts]
    for position, (part, mine) in enumerate(
        zip(parts, bonding.bonds(snapshot, asks, [each.need for each in parts]), strict=True)
    ):
        part.position = position
        part.vector = _widened(part.vector, width)
        part.bonds = mine
        open_ = affinity.allowed(snapshot, *asks[position], gang.priority)
        if open_ is not None:
            part.allowed &= open_
        for term in affinity.terms(part.shape.spec, "podAffinity"):
            part.allowed &= snapshot.domains(term["topologyKey"])[0] >= 0
        follows = mine.following
        for key, domains in follows.known.items() if follows and not follows.peers else ():
            part.allowed &= np.isin(snapshot.domains(key)[0], sorted(domains))
