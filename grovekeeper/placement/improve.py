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
from grovekeeper.placement import settle as settling
from grovekeeper.placement.nodes import Ints, Mask

ATTEMPTS = 24
_FEWEST_ATTEMPTS = 3
_WORK = 40_000
"""Nodes times parts times attempts: a decision in a large cluster is to take no longer than in a small one."""
Cost = tuple[int, ...]


@dataclass(slots=True)
class Answer:
    """What a search chose, with its cost."""

    cost: Cost
    chosen: dict[int, searching.Spots]
    rows: Ints
    """The rows inside which the gang may be, as long as it stays in its required domain."""


def cost(search: searching.Search, unit: parts.Unit) -> Cost:
    """Return what the choice costs, the most important first.

    Wishes broken (the base gang's domain, preferred levels), levels at which those that follow have no room in the
    gang's domain, domains used at each level from the top, whole domains
    opened at each level, nodes used, whole nodes opened. A level whose domains are single nodes counts as nodes:
    opening a rack costs the next gang more than a node costs this one.
    """
    rows = np.unique([row for spots in search.chosen.values() for row, _pods in spots]).astype(np.int64)
    kept = np.unique([row for listed in search.fixed.values() for row in listed]).astype(np.int64)
    every = np.append(rows, kept)
    used = [_count(search.ids[level][every]) for level in search.wide]
    opened = [_count(search.ids[level][rows[search.whole[level][rows]]]) for level in search.wide]
    alone = search.company.missed(rows) if search.company is not None else 0
    return (_broken(search, unit, rows), alone, *used, *opened, _count(every), int(search.whole[-1][rows].sum()))


def _count(numbers: Ints) -> int:
    """Return how many different numbers there are. There are few: a set takes a fraction of numpy's time."""
    return len(set(numbers.tolist()))


def improved(search: searching.Search, unit: parts.Unit, rows: Ints, others: Iterator[Ints]) -> None:
    """Try to make the search's choice cheaper; leave the cheapest in it.

    `others` are further sets of rows that could hold the unit.
    """
    if not any(part.need for part in unit.leaves()):
        return  # nothing has been placed: what is above the minimum takes what is left
    if any(each.spread or each.pods_spread for each in unit.everyone()):
        return  # the most even answer is the one that was asked for, not the cheapest
    best = Answer(cost(search, unit), search.chosen, _around(search, unit, rows))
    search.undo(0)
    bound = _bound(search, unit)
    leaves = sum(part.need > 0 for part in unit.leaves())
    left = min(ATTEMPTS, max(_FEWEST_ATTEMPTS, _WORK // max(1, len(search.among) * leaves)))
    better = True
    while better and left > 0 and best.cost > bound:
        better = False
        for attempt, order in _attempts(search, unit, best, others):
            left -= 1
            unit.units[:] = order
            found = _tried(search, unit, attempt)
            if found is not None and found.cost < best.cost:
                best = found
                better = True
                break
            if left <= 0 or search.tries <= 0:
                break
    search.chosen, search.united = best.chosen, {}
    for part in unit.leaves():
        search.charge(part, best.chosen.get(part.position, []))


def _tried(search: searching.Search, unit: parts.Unit, rows: Ints) -> Answer | None:
    """Return the answer among these rows, or None; nothing stays chosen or charged."""
    search.chosen, search.united = {}, {}
    fits = search.tries > 0 and settling.settle(search, unit, rows)
    found = Answer(cost(search, unit), search.chosen, _around(search, unit, rows)) if fits else None
    search.undo(0)
    search.chosen = {}
    return found


def _bound(search: searching.Search, unit: parts.Unit) -> Cost:
    """Return a cost below which no answer can be: each part by itself, the largest domains first."""
    kept = np.unique([row for listed in search.fixed.values() for row in listed]).astype(np.int64)
    rows = np.union1d(search.among, kept) if len(kept) else search.among
    leaves = [part for part in unit.leaves() if part.need]
    rooms = [
        np.where(part.allowed[rows], pack.capacities(search.free[rows], part.vector, part.shape.one_per_node), 0)
        for part in leaves
    ]
    used, opened = [], []
    for level in [*search.wide, None]:
        ids = search.ids[level][rows] if level is not None else np.arange(len(rows))
        whole = search.whole[-1 if level is None else level][rows]
        nowhere = ids < 0
        least = [0, 0]
        for part, room in zip(leaves, rooms, strict=True):
            totals, fresh = room, room * whole
            if level is not None:
                # What is in no domain is counted in one before the first.
                totals, fresh = (np.bincount(ids + 1, weights=each).astype(np.int64)[1:] for each in (totals, fresh))
            outside = int(room[nowhere].sum())
            old = int((totals - fresh).sum()) + outside
            needed = _least(totals, part.need - outside)
            least = [max(least[0], needed), max(least[1], _least(fresh, part.need - old))]
        used.append(max(least[0], _count(ids[np.isin(rows, kept)]) if len(kept) else 0))
        opened.append(least[1])
    wish = unit.constraint.preferred
    level = search.levels.index(wish) if wish in search.levels else -1
    missed = int(level in search.wide and used[search.wide.index(level)] > 1)
    alone = search.company.least() if search.company is not None else 0
    return (missed, alone, *used[:-1], *opened[:-1], used[-1], opened[-1])


def _around(search: searching.Search, unit: parts.Unit, rows: Ints) -> Ints:
    """Return the rows of the required domain that some rows are in; without one, all that may be searched."""
    key = unit.constraint.required
    united = any(part.bonds.united for part in unit.leaves())
    if united or (key is not None and key not in search.levels):
        return rows
    if key is None:
        return search.among
    ids = search.ids[search.levels.index(key)]
    found: Ints = search.among[pack.among(ids[search.among], ids[rows])]
    return found


def _broken(search: searching.Search, unit: parts.Unit, rows: Ints) -> int:
    """Return how many wishes are missed: preferred levels, and domains that the base gang is not in."""
    missed = 0
    for ids in search.ids if search.near else ():
        missed += len(np.setdiff1d(ids[rows], ids[search.near]))
    for each in unit.everyone():
        if each.constraint.preferred in search.levels:
            mine = [row for part in each.leaves() for row, _pods in search.chosen.get(part.position, ())]
            ids = search.ids[search.levels.index(each.constraint.preferred)]
            missed += len(np.unique(ids[[*mine, *search.rows_of(each)]])) > 1
    return missed


def _attempts(
    search: searching.Search, unit: parts.Unit, best: Answer, others: Iterator[Ints]
) -> Iterator[tuple[Ints, list[parts.Unit]]]:
    """Yield rows to try and the order of the units."""
    usual = list(unit.units)
    leaves = [part for part in unit.leaves() if part.need]
    mixed = len(leaves) > 1
    for ways in (_fewer, _unopened, _denser):
        for level in search.wide:
            for rows in ways(search, leaves, best, level):
                yield rows, usual
    if mixed:
        for position in range(1, min(len(usual), 6)):
            yield best.rows, [usual[position], *usual[:position], *usual[position + 1 :]]
    for rows in islice(others, 8 if mixed else 4):
        yield rows, usual


def _fewer(search: searching.Search, leaves: Sequence[parts.Part], best: Answer, level: int) -> Iterator[Ints]:
    """Yield sets of one domain less than is in use, where so few could do."""
    if len(leaves) < 2:
        return  # the largest first was exact
    ids = search.ids[level]
    used = _used(search, best, level)
    bound, rooms = _rooms(search, leaves, best.rows, ids)
    count = len(used) - 1
    if count < bound:
        return
    for room in rooms:
        order = np.argsort(-room, kind="stable")
        top = order[:count]
        yield best.rows[pack.among(ids[best.rows], top)]
        for spare in order[count : count + 2]:
            yield best.rows[pack.among(ids[best.rows], [*top[:-1], spare])]


def _unopened(search: searching.Search, leaves: Sequence[parts.Part], best: Answer, level: int) -> Iterator[Ints]:
    """Yield the domains in use with a whole one exchanged for one that is not, the roomiest first."""
    ids = search.ids[level]
    used = _used(search, best, level)
    numbers = ids[best.rows[search.whole[level][best.rows]]]
    whole = np.unique(numbers)
    opened = np.intersect1d(used, whole)
    if not len(opened):
        return
    _bound, rooms = _rooms(search, leaves, best.rows, ids)
    open_ = np.setdiff1d(np.unique(ids[best.rows]), np.append(used, whole))
    order = sorted((int(number) for number in open_ if number >= 0), key=lambda number: -rooms[-1][number])
    for number in order[:4]:
        yield best.rows[pack.among(ids[best.rows], [*np.setdiff1d(used, opened[:1]), number])]
    if len(opened) > 1 and len(order) > 1:
        yield best.rows[pack.among(ids[best.rows], [*np.setdiff1d(used, opened), *order[: len(opened)]])]


def _denser(search: searching.Search, leaves: Sequence[parts.Part], best: Answer, level: int) -> Iterator[Ints]:
    """Yield as many domains as are in use, of those whose roomiest nodes hold most: they need fewer of what is inside.

    The densest of all, then those in use with one exchanged. Only domains inside the broader ones that are in use.
    """
    ids = search.ids[level]
    used = _used(search, best, level)
    rows = best.rows[ids[best.rows] >= 0]
    if level > 0 and level in search.wide:
        outer = _used(search, best, level - 1)
        rows = rows[pack.among(search.ids[level - 1][rows], outer)]
    main = max(leaves, key=lambda part: part.weight())
    room = np.where(main.allowed[rows], pack.capacities(search.free[rows], main.vector, main.shape.one_per_node), 0)
    nodes = -(-sum(len(spots) for spots in best.chosen.values()) // len(used))
    density = _density(ids[rows], room, nodes, int(ids.max(initial=-1)) + 1)
    order = np.argsort(-density, kind="stable")
    order = order[density[order] > 0]
    if len(order) <= len(used):
        return
    yield rows[pack.among(ids[rows], order[: len(used)])]
    others = [number for number in order if number not in set(used)]
    for gone in sorted(used, key=lambda number: density[number])[:3]:
        for number in others[:4]:
            yield rows[pack.among(ids[rows], [*used[used != gone], number])]


def _density(ids: Ints, room: Ints, nodes: int, count: int) -> Ints:
    """Return for each domain how many pods its `nodes` roomiest nodes hold."""
    order = np.lexsort((-room, ids))
    owner = ids[order]
    first = np.flatnonzero(np.append(True, np.diff(owner) > 0)) if len(owner) else np.zeros(0, dtype=np.int64)
    place = np.arange(len(owner)) - np.repeat(first, np.diff(np.append(first, len(owner))))
    result: Ints = np.bincount(owner, weights=np.where(place < nodes, room[order], 0), minlength=count).astype(np.int64)
    return result


def _used(search: searching.Search, best: Answer, level: int) -> Ints:
    rows = [row for spots in best.chosen.values() for row, _pods in spots]
    kept = [row for listed in search.fixed.values() for row in listed]
    found: Ints = np.unique(search.ids[level][[*rows, *kept]])
    return found


def _rooms(search: searching.Search, leaves: Sequence[parts.Part], rows: Ints, ids: Ints) -> tuple[int, list[Ints]]:
    """Return how many domains are needed at least, and each domain's room by several measures, the volume last."""
    inside: Mask = np.zeros(len(search.free), dtype=np.bool_)
    inside[rows] = True
    inside &= ids >= 0
    count = int(ids.max(initial=-1)) + 1
    bound = 1
    rooms: list[Ints] = []
    for part in leaves:
        room = pack.capacities(search.free, part.vector, part.shape.one_per_node)
        capacity = np.where(inside & part.allowed, room, 0)
        totals = np.bincount(ids[inside], weights=capacity[inside], minlength=count).astype(np.int64)
        rooms.append(totals)
        bound = max(bound, _least(totals, part.need))
    demand = sum((part.need * part.vector for part in leaves), np.zeros_like(leaves[0].vector))
    scarce = int((demand / np.maximum(np.maximum(search.free[rows], 0).sum(axis=0), 1)).argmax())
    free = np.maximum(search.free[inside, scarce], 0)
    volume = np.bincount(ids[inside], weights=free, minlength=count).astype(np.int64)
    return max(bound, _least(volume, int(demand[scarce]))), [*rooms, volume]


def _least(totals: Ints, wanted: int) -> int:
    return int(np.searchsorted(np.cumsum(np.sort(totals)[::-1]), wanted)) + 1 if wanted > 0 else 0
