"""Domains that have room for a gang and for those that will follow it: a wish, judged by counts (decision 0023).

It never refuses. Cost: O(levels x shapes x nodes), once a question.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grovekeeper.placement import pack, parts, request
from grovekeeper.placement import shape as shapes
from grovekeeper.placement.nodes import Ints, Mask
from grovekeeper.placement.snapshot import Snapshot


@dataclass(slots=True)
class _Kind:
    """Pods of one shape, whatever cliques they are of."""

    likeness: list[object]
    part: parts.Part
    capacity: Ints
    """By row: how many of them fit there now."""
    own: int = 0
    """Pods of the gang's minimum."""
    coming: int = 0
    """Pods of all that follow."""


@dataclass(frozen=True, slots=True)
class Company:
    """What is known of the room for a gang with all that follows it."""

    unit: parts.Unit
    """The gang."""
    ids: tuple[Ints, ...]
    """Domain numbers by row of the levels that count, the broadest first."""
    holds: tuple[Mask, ...]
    """By level, and by domain: whether all have room there."""

    def missed(self, rows: Ints) -> int:
        """Return at how many levels some rows are not in one domain that has room for all. O(rows x levels)."""
        count = 0
        for ids, holds in zip(self.ids, self.holds, strict=True):
            domains = set(ids[rows].tolist())
            count += len(domains) != 1 or -1 in domains or not holds[domains.pop()]
        return count

    def least(self) -> int:
        """Return how often `missed` counts at least, whatever the rows."""
        return sum(not holds.any() for holds in self.holds)

    def misses(self, ids: Ints, domains: Sequence[int]) -> dict[int, int]:
        """Return for domains of a level at how many levels from the broadest to that one all have no room."""
        numbers, first = np.unique(ids, return_index=True)
        row = dict(zip(numbers.tolist(), first.tolist(), strict=True))
        last = next((level for level, each in enumerate(self.ids) if each is ids), -1)
        above = list(zip(self.ids, self.holds, strict=True))[: last + 1]
        outer = {domain: [(int(known[row[domain]]), holds) for known, holds in above] for domain in domains}
        return {domain: sum(number < 0 or not holds[number] for number, holds in outer[domain]) for domain in domains}


def company(
    gang: request.GangAsk, unit: parts.Unit, snapshot: Snapshot, free: Ints, levels: Sequence[Ints]
) -> Company | None:
    """Return what is known of the room for a gang and its followers; None where it has none, or has a place already.

    `free` is what is free, nodes by resources; `levels` are the domain numbers by row of the levels that count.
    """
    if not gang.followers or gang.fixed or not levels:
        return None
    kinds = _kinds(unit, free)
    followers = [(each, _asked(each, unit, kinds)) for each in gang.followers]
    for each, asked in followers:
        for number, pods in asked.items():
            kinds[number].coming += pods * each.count
    if not any(kind.coming for kind in kinds):
        return None
    holds = []
    for ids in levels:
        mask = _by_volume(kinds, free, ids)
        for each, asked in followers:
            if asked:
                mask &= _replicas(each, asked, kinds, snapshot, ids) >= each.count + _own(asked, kinds)
        holds.append(mask)
    return Company(unit, tuple(levels), tuple(holds))


def _kinds(unit: parts.Unit, free: Ints) -> list[_Kind]:
    result: list[_Kind] = []
    for part in unit.leaves():
        likeness = shapes.likeness(part.shape.spec)
        kind = next((each for each in result if each.likeness == likeness), None)
        if kind is None:
            room = pack.capacities(free, part.vector, part.shape.one_per_node)
            kind = _Kind(likeness, part, np.where(part.allowed, room, 0))
            result.append(kind)
        kind.own += part.need
    return result


def _asked(followers: request.Followers, unit: parts.Unit, kinds: Sequence[_Kind]) -> dict[int, int]:
    """Return by number of the kind how many pods each follower has of it. Of a clique the first template counts."""
    first: dict[str, parts.Part] = {}
    for part in unit.leaves():
        first.setdefault(part.name, part)
    result: dict[int, int] = {}
    for name, pods in followers.groups:
        if name in first:
            likeness = shapes.likeness(first[name].shape.spec)
            number = next(i for i, kind in enumerate(kinds) if kind.likeness == likeness)
            result[number] = result.get(number, 0) + pods
    return {number: pods for number, pods in result.items() if pods}


def _own(asked: dict[int, int], kinds: Sequence[_Kind]) -> int:
    """Return how many replicas' room the gang itself takes at least: pods of one shape are in each other's way."""
    return max(-(-kinds[number].own // pods) for number, pods in asked.items())


def _replicas(
    followers: request.Followers, asked: dict[int, int], kinds: Sequence[_Kind], snapshot: Snapshot, ids: Ints
) -> Ints:
    """Return by domain how many replicas fit, each in one domain of the level that it needs for itself."""
    count = int(ids.max(initial=-1)) + 1
    inner = snapshot.domains(followers.required)[0] if followers.required is not None else ids
    known = (ids >= 0) & (inner >= 0)
    # Where a domain of the inner level lies in several of the outer, each has its share of it.
    pairs, index = np.unique(ids[known] * (int(inner.max(initial=-1)) + 1) + inner[known], return_inverse=True)
    fits = np.full(len(pairs), np.iinfo(np.int64).max, dtype=np.int64)
    for number, pods in asked.items():
        room = np.bincount(index, weights=kinds[number].capacity[known], minlength=len(pairs)).astype(np.int64)
        fits = np.minimum(fits, room // pods)
    outer = pairs // (int(inner.max(initial=-1)) + 1)
    return np.bincount(outer, weights=fits, minlength=count).astype(np.int64)


def _by_volume(kinds: Sequence[_Kind], free: Ints, ids: Ints) -> Mask:
    """Return which domains have enough of each resource, counting of a node what pods of some kind could use."""
    count = int(ids.max(initial=-1)) + 1
    known = ids >= 0
    result: Mask = np.ones(count, dtype=np.bool_)
    for column in range(free.shape[1]):
        asking = [kind for kind in kinds if kind.part.vector[column]]
        wanted = sum((kind.own + kind.coming) * int(kind.part.vector[column]) for kind in asking)
        if not wanted:
            continue
        usable = np.max([kind.capacity * kind.part.vector[column] for kind in asking], axis=0)
        result &= np.bincount(ids[known], weights=usable[known], minlength=count) >= wanted
    return result
