"""A placement made cheaper: fewer domains at each level from the top, then fewer whole domains opened, then nodes.

The search's first answer is best for pods of one shape in an even cluster. Otherwise a few other sets of domains are
tried: one domain less than in use, a domain in part in use instead of a whole one, the parts in another order. Each is
a full search inside those domains, and the cheapest answer stays. Cost: at most `ATTEMPTS` searches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from grovekeeper.placement import pack, parts
from grovekeeper.placement import search as searching
from grovekeeper.placement.snapshot import Ints, Mask

ATTEMPTS = 24
Cost = tuple[int, ...]


@dataclass(slots=True)
class Answer:
    """What a search chose, with its cost."""

    cost: Cost
    chosen: dict[int, searching.Spots]
    free: Ints
    rows: Ints
    """The rows inside which it was found."""


def cost(search: searching.Search, unit: parts.Unit) -> Cost:
    """Return what the choice costs, the most important first.

    Wishes broken (the base gang's domain, preferred levels), domains used at each level from the top, whole domains
    opened at each level, nodes used, whole nodes opened. A level whose domains are single nodes counts as nodes:
    opening a rack costs the next gang more than a node costs this one.
    """
    rows = np.unique([row for spots in search.chosen.values() for row, _pods in spots]).astype(np.int64)
    kept = np.unique([row for listed in search.fixed.values() for row in listed]).astype(np.int64)
    wide = [level for level in range(len(search.levels)) if search.holds_several(level)]
    every = np.append(rows, kept)
    used = [len(np.unique(search.ids[level][every])) for level in wide]
    opened = [len(np.unique(search.ids[level][rows[search.whole[level][rows]]])) for level in wide]
    return (_broken(search, unit, rows), *used, *opened, len(np.unique(every)), int(search.whole[-1][rows].sum()))


def improved(search: searching.Search, unit: parts.Unit, rows: Ints, others: Iterator[Ints]) -> None:
    """Try to make the search's choice cheaper; leave the cheapest in it.

    `others` are further sets of rows that could hold the unit.
    """
    if any(each.spread or each.pods_spread for each in unit.everyone()):
        return  # the most even answer is the one that was asked for, not the cheapest
    best = Answer(cost(search, unit), search.chosen, search.free, rows)
    left = ATTEMPTS
    better = True
    start = search.free.copy()
    for part in unit.leaves():
        for row, pods in search.chosen.get(part.position, ()):
            start[row] += pods * part.vector
    while better and left > 0:
        better = False
        for attempt, order in _attempts(search, unit, best, start, others):
            left -= 1
            search.free, search.chosen, search.siblings = start.copy(), {}, {}
            unit.units[:] = order
            if search.tries > 0 and searching.settle(search, unit, attempt):
                found = Answer(cost(search, unit), search.chosen, search.free, attempt)
                if found.cost < best.cost:
                    best = found
                    better = True
                    break
            if left <= 0 or search.tries <= 0:
                break
    search.chosen, search.free = best.chosen, best.free


def _broken(search: searching.Search, unit: parts.Unit, rows: Ints) -> int:
    """Return by how many domains the wishes are missed."""
    missed = 0
    for ids in search.ids if search.near else ():
        missed += len(np.setdiff1d(ids[rows], ids[search.near]))
    for each in unit.everyone():
        if each.constraint.preferred in search.levels:
            mine = [row for part in each.leaves() for row, _pods in search.chosen.get(part.position, ())]
            ids = search.ids[search.levels.index(each.constraint.preferred)]
            missed += max(0, len(np.unique(ids[[*mine, *search.rows_of(each)]])) - 1)
    return missed


def _attempts(
    search: searching.Search, unit: parts.Unit, best: Answer, start: Ints, others: Iterator[Ints]
) -> Iterator[tuple[Ints, list[parts.Unit]]]:
    """Yield rows to try and the order of the units."""
    usual = list(unit.units)
    leaves = [part for part in unit.leaves() if part.need]
    mixed = len(leaves) > 1
    for level in range(len(search.levels)):
        if search.holds_several(level):
            for rows in _fewer(search, leaves, best, start, level):
                yield rows, usual
            for rows in _unopened(search, leaves, best, start, level):
                yield rows, usual
    if mixed:
        for position in range(1, min(len(usual), 6)):
            yield best.rows, [usual[position], *usual[:position], *usual[position + 1 :]]
        for rows in islice(others, 4):
            yield rows, usual


def _fewer(
    search: searching.Search, leaves: Sequence[parts.Part], best: Answer, start: Ints, level: int
) -> Iterator[Ints]:
    """Yield sets of one domain less than is in use, where so few could do."""
    if len(leaves) < 2:
        return  # the largest first was exact
    ids = search.ids[level]
    used = _used(search, best, level)
    bound, rooms = _rooms(search, leaves, best.rows, start, ids)
    count = len(used) - 1
    if count < bound:
        return
    for room in rooms:
        order = np.argsort(-room, kind="stable")
        top = order[:count]
        yield best.rows[np.isin(ids[best.rows], top)]
        for spare in order[count : count + 2]:
            yield best.rows[np.isin(ids[best.rows], [*top[:-1], spare])]


def _unopened(
    search: searching.Search, leaves: Sequence[parts.Part], best: Answer, start: Ints, level: int
) -> Iterator[Ints]:
    """Yield the domains in use with a whole one exchanged for one that is not, the roomiest first."""
    ids = search.ids[level]
    used = _used(search, best, level)
    numbers = ids[best.rows[search.whole[level][best.rows]]]
    whole = np.unique(numbers)
    opened = np.intersect1d(used, whole)
    if not len(opened):
        return
    _bound, rooms = _rooms(search, leaves, best.rows, start, ids)
    open_ = np.setdiff1d(np.unique(ids[best.rows]), np.append(used, whole))
    order = sorted((int(number) for number in open_ if number >= 0), key=lambda number: -rooms[-1][number])
    for number in order[:4]:
        yield best.rows[np.isin(ids[best.rows], [*np.setdiff1d(used, opened[:1]), number])]
    if len(opened) > 1 and len(order) > 1:
        yield best.rows[np.isin(ids[best.rows], [*np.setdiff1d(used, opened), *order[: len(opened)]])]


def _used(search: searching.Search, best: Answer, level: int) -> Ints:
    rows = [row for spots in best.chosen.values() for row, _pods in spots]
    kept = [row for listed in search.fixed.values() for row in listed]
    found: Ints = np.unique(search.ids[level][[*rows, *kept]])
    return found


def _rooms(
    search: searching.Search, leaves: Sequence[parts.Part], rows: Ints, start: Ints, ids: Ints
) -> tuple[int, list[Ints]]:
    """Return how many domains are needed at least, and each domain's room by several measures, the volume last."""
    inside: Mask = np.zeros(len(start), dtype=np.bool_)
    inside[rows] = True
    inside &= ids >= 0
    count = int(ids.max(initial=-1)) + 1
    bound = 1
    rooms: list[Ints] = []
    for part in leaves:
        capacity = np.where(inside & part.allowed, pack.capacities(start, part.vector, part.shape.one_per_node), 0)
        totals = np.bincount(ids[inside], weights=capacity[inside], minlength=count).astype(np.int64)
        rooms.append(totals)
        bound = max(bound, _least(totals, part.need))
    demand = sum((part.need * part.vector for part in leaves), np.zeros_like(leaves[0].vector))
    scarce = int((demand / np.maximum(np.maximum(start[rows], 0).sum(axis=0), 1)).argmax())
    volume = np.bincount(ids[inside], weights=np.maximum(start[inside, scarce], 0), minlength=count).astype(np.int64)
    return max(bound, _least(volume, int(demand[scarce]))), [*rooms, volume]


def _least(totals: Ints, wanted: int) -> int:
    return int(np.searchsorted(np.cumsum(np.sort(totals)[::-1]), wanted)) + 1 if wanted > 0 else 0
