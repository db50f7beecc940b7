"""Which gangs to evict so that one of higher priority fits: the cheapest domain is cleared, whole gangs only.

Cheapest: the fewest gangs, then the lowest priorities (the highest of them counting first), then the youngest.
The domains of the level that binds the whole gang are looked at one by one (without such a level: the cluster), those
that could need the fewest victims first. Inside one, sets of victims are tried by size in the order of value, judged by
counts first and by a search where the counts allow it; where the sets of a size are too many, a set is grown by what
the victims free and then thinned and exchanged for a cheaper one.
Cost: at most `TRIES` searches and `COUNTS` counts over the nodes of one domain, after O(pods of the victims).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb

import numpy as np

from grovekeeper.placement import affinity, pack, parts, place, request
from grovekeeper.placement.nodes import Ints
from grovekeeper.placement.snapshot import Snapshot

TRIES = 96
COUNTS = 20_000
_EACH = 2_000
"""Sets of one size that are all looked at; beyond, a good one is made instead of the best being found."""
Value = tuple[int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Victim:
    """A gang that could be evicted, with what would have to go with it."""

    name: str
    """namespace/name."""
    priority: int
    created: str
    """RFC 3339: the younger goes first."""
    uids: frozenset[str]
    """Pods that have a node, or are about to: of the gang and of the scaled gangs that stand on it."""
    gangs: tuple[str, ...] = ()
    """Names of the gangs that these pods are of, in the victim's namespace."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evict, and where the gang goes then."""

    victims: tuple[Victim, ...]
    placement: request.Placement


def plan(ask: request.GangAsk, snapshot: Snapshot, gangs: Sequence[Victim]) -> Plan | None:
    """Return the gangs to evict for this ask, or None: no eviction of lower gangs would make it fit."""
    if not ask.preempts:
        return None
    ask = replace(ask, followers=())  # a wish evicts nobody
    lower = [victim for victim in gangs if victim.priority < ask.priority and victim.uids]
    # Lowest priority first, then youngest, then name: the place in this order is a victim's value.
    lower.sort(key=lambda victim: victim.name)
    lower.sort(key=lambda victim: victim.created, reverse=True)
    lower.sort(key=lambda victim: victim.priority)
    root = parts.tree(ask, snapshot)
    trial = _Trial(ask, snapshot)
    if not lower or isinstance(root, request.Reasons) or trial.fits(lower) is None:
        return None
    _opened(root, ask, snapshot, lower)
    freed = [snapshot.freed(victim.uids) for victim in lower]
    found_in: dict[int, list[int]] = {}
    for position, each in enumerate(freed):
        for row in each:
            found_in.setdefault(row, []).append(position)
    leaves = [part for part in root.leaves() if part.need]
    free = snapshot.free()
    regions = []
    for rows in _regions(ask, snapshot):
        here = sorted({position for row in rows for position in found_in.get(int(row), ())})
        region = _region(rows, free, leaves, {position: (lower[position], freed[position]) for position in here})
        if region is not None:
            regions.append(region)
    best: tuple[Value, Plan] | None = None
    for region in sorted(regions, key=lambda each: each.least):
        if trial.left <= 0 or trial.counts <= 0 or (best is not None and region.least > best[0][0]):
            break
        found = _cheapest(trial, region, best[0] if best else None)
        if found is not None:
            best = found
    return best[1] if best is not None else trial.thinned(lower)


def _opened(root: parts.Unit, ask: request.GangAsk, snapshot: Snapshot, lower: Iterable[Victim]) -> None:
    """Open to the parts the rows that only victims forbid: counts must not refuse what a search would find."""
    with snapshot.without(uid for victim in lower for uid in victim.uids):
        again = parts.tree(ask, snapshot)
    if isinstance(again, request.Reasons):
        return
    # By pod: what victims look at tells pods of one clique apart, and others may come first without them.
    without = {pod.name: part for part in again.leaves() for pod in part.pods}
    for part in root.leaves():
        other = without[part.pods[0].name]
        # Where a peer is asked for, which rows are open depends on who stays: that is left to the search.
        near = bool(affinity.terms(part.shape.spec, "podAffinity"))
        part.allowed = part.eligible if near else part.allowed | other.allowed


@dataclass(slots=True)
class _Region:
    """A domain that could be cleared, and the gangs in it."""

    rows: Ints
    free: Ints
    """Of these rows."""
    victims: list[Victim]
    values: list[int]
    """Of the victims: the place in the order of eviction."""
    freed: list[dict[int, Ints]]
    """By position in `rows`."""
    parts: list[parts.Part]
    least: int
    """So many victims are needed at least, by volume."""

    def value(self, chosen: Iterable[int]) -> Value:
        """Return the value of a set of victims, by position: the lower the better."""
        mine = list(chosen)
        priorities = sorted((self.victims[i].priority for i in mine), reverse=True)
        return len(mine), tuple(priorities), tuple(sorted((self.values[i] for i in mine), reverse=True))

    def could(self, chosen: Iterable[int]) -> bool:
        """Return whether every part fits by count when these have gone: necessary, and enough for one part."""
        free = self.free.copy()
        for position in chosen:
            for row, vector in self.freed[position].items():
                free[row] += vector
        demand = np.zeros(free.shape[1], dtype=np.int64)
        for part in self.parts:
            allowed = part.allowed[self.rows]
            capacity = pack.capacities(free, part.vector, part.shape.one_per_node)
            if int(capacity[allowed].sum()) < part.need:
                return False
            demand += part.need * part.vector
        return bool((np.maximum(free, 0).sum(axis=0) >= demand).all())

    def gain(self, position: int) -> float:
        """Return how much of what is asked for a victim frees, as a share of the demand."""
        demand = sum((part.need * part.vector for part in self.parts), np.zeros(self.free.shape[1]))
        freed = sum(self.freed[position].values(), np.zeros(self.free.shape[1]))
        asked = demand > 0
        asked[0] = False  # places for pods are not what is short
        return float((freed[asked] / demand[asked]).min()) if asked.any() else 0.0


def _regions(ask: request.GangAsk, snapshot: Snapshot) -> Iterator[Ints]:
    """Yield the rows of each domain that could be cleared."""
    key = ask.constraint.required
    rows = snapshot.rows()
    if key is None:
        yield rows
        return
    ids, names = snapshot.domains(key)
    kept = {snapshot.row_of(node) for _group, node in ask.fixed.values()} - {None}
    forced = {int(ids[row]) for row in kept if row is not None}
    for number in range(len(names)):
        if not forced or forced == {number}:
            yield rows[ids[rows] == number]


def _region(
    rows: Ints, free: Ints, leaves: list[parts.Part], victims: Mapping[int, tuple[Victim, Mapping[int, Ints]]]
) -> _Region | None:
    """Return the region, or None where the gang would not fit by count even with all victims gone.

    `victims` maps a victim's place in the order of eviction to what it frees by row, elsewhere included.
    """
    inside = {int(row): position for position, row in enumerate(rows)}
    freed = [
        {inside[row]: vector for row, vector in each.items() if row in inside} for _victim, each in victims.values()
    ]
    region = _Region(rows, free[rows], [victim for victim, _freed in victims.values()], [*victims], freed, leaves, 0)
    if not victims or not region.could(range(len(freed))):
        return None
    region.least = _least(region)
    return region


def _least(region: _Region) -> int:
    """Return how many victims have to go at least: the largest first, by each resource that is asked for."""
    width = region.free.shape[1]
    demand = sum((part.need * part.vector for part in region.parts), np.zeros(width, dtype=np.int64))
    missing = demand - np.maximum(region.free, 0).sum(axis=0)
    gains = np.array([sum(each.values(), np.zeros(width, dtype=np.int64)) for each in region.freed])
    needed = 1
    for column in np.flatnonzero((missing > 0) & (demand > 0)):
        sums = np.cumsum(np.sort(gains[:, column])[::-1])
        needed = max(needed, int(np.searchsorted(sums, missing[column])) + 1)
    return needed


def _cheapest(trial: "_Trial", region: _Region, beat: Value | None) -> tuple[Value, Plan] | None:
    """Return the cheapest set of this region's victims that suffices, if it is cheaper than `beat`."""
    count = len(region.victims)
    for size in range(region.least, count + 1):
        if beat is not None and size > beat[0]:
            return None
        if comb(count, size) > _EACH:
            return _grown(trial, region, beat)
        for value, chosen in sorted((region.value(each), each) for each in combinations(range(count), size)):
            if beat is not None and value >= beat:
                return None
            if trial.counts <= 0 or trial.left <= 0:
                return _grown(trial, region, beat)
            trial.counts -= 1
            if region.could(chosen) and (placement := trial.inside(region, chosen)) is not None:
                return value, Plan(tuple(region.victims[i] for i in chosen), placement)
    return None


def _grown(trial: "_Trial", region: _Region, beat: Value | None) -> tuple[Value, Plan] | None:
    """Return a good set: what frees most until it suffices, then the most valuable spared or exchanged."""
    order = sorted(range(len(region.victims)), key=lambda i: (-region.gain(i), region.values[i]))
    chosen: list[int] = []
    for position in order:
        chosen.append(position)
        if region.could(chosen) and trial.inside(region, chosen) is not None:
            break
        if trial.left <= 0:
            return None
    for position in sorted(chosen, reverse=True):
        chosen = _thinner(trial, region, chosen, position)
    placement = trial.inside(region, chosen)
    value = region.value(chosen)
    if placement is None or (beat is not None and value >= beat):
        return None
    return value, Plan(tuple(region.victims[i] for i in chosen), placement)


def _thinner(trial: "_Trial", region: _Region, chosen: list[int], position: int) -> list[int]:
    """Return the set without this victim, or with a cheaper one in its place, if that suffices; else the set."""
    fewer = [other for other in chosen if other != position]
    # Victims are in the order of value: those before this one are cheaper.
    for option in ([*fewer, *more] for more in ((), *((i,) for i in range(position) if i not in chosen))):
        if trial.left <= 1 or trial.counts <= 0:
            break
        trial.counts -= 1
        if option and region.could(option) and trial.inside(region, option) is not None:
            return option
    return chosen


class _Trial:
    """Searches that were made and may still be made."""

    def __init__(self, ask: request.GangAsk, snapshot: Snapshot) -> None:
        self._ask = ask
        self._snapshot = snapshot
        self.left = TRIES
        self.counts = COUNTS

    def fits(self, victims: Sequence[Victim], rows: Ints | None = None) -> request.Placement | None:
        """Return where the gang goes without these, or None; with `rows`: among those only."""
        self.left -= 1
        with self._snapshot.without(uid for victim in victims for uid in victim.uids):
            answer = place.place(self._ask, self._snapshot, among=rows)
        return answer if isinstance(answer, request.Placement) else None

    def inside(self, region: _Region, chosen: Iterable[int]) -> request.Placement | None:
        """Return where the gang goes in a region without these victims."""
        return self.fits([region.victims[i] for i in chosen], region.rows)

    def thinned(self, victims: Sequence[Victim]) -> Plan | None:
        """Return a plan where no region gave one: the shortest prefix that suffices, without what is not needed."""
        low, high = 1, len(victims)
        while low < high:
            middle = (low + high) // 2
            if self.fits(victims[:middle]) is None:
                low = middle + 1
            else:
                high = middle
        chosen = list(victims[:high])
        for victim in reversed(victims[:high]):
            fewer = [other for other in chosen if other is not victim]
            if self.left <= 1:
                break
            if fewer and self.fits(fewer) is not None:
                chosen = fewer
        found = self.fits(chosen)
        return Plan(tuple(chosen), found) if found is not None else None
