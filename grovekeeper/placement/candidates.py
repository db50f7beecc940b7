"""Where a unit could go, best first: sets of rows of domains that could hold it by count."""

from collections.abc import Iterator, Sequence

import numpy as np

from grovekeeper.placement import bonds, pack, parts, spreading
from grovekeeper.placement.nodes import Ints, Mask
from grovekeeper.placement.search import Search


def candidates(search: Search, unit: parts.Unit, rows: Ints, *, wide: bool = False) -> Iterator[Ints]:
    """Yield sets of rows that could hold the unit, best first: narrowest level, then least room to spare."""
    for key in search.narrowings(unit, wide=wide):
        if key is None:
            yield rows
            continue
        ids, _names = search.snapshot.domains(key)
        for domain in fitting(search, unit, ids, rows):
            yield from _inside(search, unit.constraint.required, rows[ids[rows] == domain], key)


def _inside(search: Search, required: str | None, rows: Ints, key: str) -> Iterator[Ints]:
    """Yield the rows of a domain; where it cuts across domains of the required level, those of each by themselves."""
    if required in (None, key):
        yield rows
        return
    outer = search.snapshot.domains(required)[0][rows]
    if len(outer) and (outer == outer[0]).all() and outer[0] >= 0:
        yield rows
        return
    yield from (rows[outer == number] for number in np.unique(outer) if number >= 0)


def others(search: Search, part: parts.Part, rows: Ints) -> Iterator[Ints]:
    """Yield parts of rows that may be better for others of the gang, whose pods look at each other.

    For each key under which they do: one domain that could hold the part, the roomiest first; all but one domain.
    """
    for key in sorted(part.bonds.keys or search.keys):
        ids, _names = search.snapshot.domains(key)
        found = ids[rows]
        numbers = np.unique(found)
        if len(numbers) < 2:
            continue
        yield from (rows[found == domain] for domain in reversed(fitting(search, parts.Unit(parts=[part]), ids, rows)))
        if part.need > 1:
            yield from (rows[found != domain] for domain in numbers)


def unions(search: Search, unit: parts.Unit, rows: Ints) -> Iterator[None]:
    """Choose in turn, best first, the domains for those of the unit that share one. Each choice costs a try."""
    yield from _united(search, unit, rows, [each for each in unit.united if not each.optional])


def _united(search: Search, unit: parts.Unit, rows: Ints, left: Sequence[bonds.United]) -> Iterator[None]:
    if not left:
        yield
        return
    first, *rest = left
    members = [part for part in unit.leaves() if part.position in first.members]
    if not any(part.need for part in members):
        yield from _united(search, unit, rows, rest)
        return
    ids, _names = search.snapshot.domains(first.key)
    for domain in fitting(search, parts.Unit(parts=members), ids, rows):
        search.tries -= 1
        search.united[first] = domain
        yield from _united(search, unit, rows, rest)
        search.united.pop(first, None)
        if search.tries <= 0:
            return


def fitting(search: Search, unit: parts.Unit, ids: Ints, rows: Ints) -> list[int]:
    """Return the domains that could hold every part of the unit by count on these rows, best first.

    Best: near the base gang, fewest domains of the next level (but for nodes: see below), not whole, least room to
    spare, name.
    """
    forced = {int(ids[row]) for row in search.rows_of(unit)}
    if len(forced) > 1:
        return []
    inside: Mask = np.zeros(len(search.free), dtype=np.bool_)
    inside[rows] = True
    coming = {part.position for part in unit.leaves() if part.need}
    count = int(ids.max(initial=-1)) + 1
    usable = np.ones(count, dtype=np.bool_)
    spare = np.zeros(count, dtype=np.int64)
    needed = np.zeros(count)
    position = next((i for i, found in enumerate(search.ids) if found is ids), len(search.ids))
    for part in unit.leaves():
        bound = rows if part.bonds else None
        capacity = search.capacity(part, bound, within=ids, coming=coming - {part.position})
        mask = inside & (ids >= 0) & (capacity > 0)
        totals = np.bincount(ids[mask], weights=capacity[mask], minlength=count).astype(np.int64)
        usable &= totals >= part.need
        spare += (totals - part.need) * part.size()
        if position + 1 < len(search.ids) and mask.any():
            below = search.ids[position + 1][mask]
            needed += pack.parts_needed(capacity[mask], ids[mask], below, count, part.need)
    near = {int(ids[row]) for row in search.near}
    untouched = np.zeros(count, dtype=np.bool_)
    if position < len(search.ids):
        known = ids >= 0
        untouched[ids[known]] = search.whole[position][known]
    found = [int(domain) for domain in np.flatnonzero(usable) if not forced or int(domain) in forced]
    if position + 1 in search.wide:
        return sorted(found, key=lambda d: (d not in near, needed[d], bool(untouched[d]), int(spare[d]), d))
    # What comes next is nodes: a whole domain that stays whole is worth more than a node.
    return sorted(found, key=lambda d: (d not in near, bool(untouched[d]), needed[d], int(spare[d]), d))


def spread(search: Search, unit: parts.Unit, rows: Ints) -> Iterator[Ints]:
    """Yield the rows among which the unit may be placed with regard to its siblings, best first."""
    if not unit.spread or search.rows_of(unit):
        # What has a place already stays there: the rest of it goes where it is.
        yield rows
        return

    def ranked(ids: Ints, among: Ints) -> list[int]:
        return fitting(search, unit, ids, among)

    peers = _elsewhere(search, unit) + search.siblings.get(unit.family, []) if unit.family else _elsewhere(search, unit)
    yield from spreading.options(search.snapshot, unit.spread, peers, rows, _allowed(search, unit), ranked)


def is_spread(search: Search, unit: parts.Unit, there: list[int], rows: Ints) -> bool:
    """Return whether a unit whose pods all have a node (`there`) keeps the required rules for its spread.

    It is among its siblings already. `rows` are those over which the skew of a clique's pods is counted.
    """
    if unit.pods_spread:
        open_ = rows[np.isin(rows, _allowed(search, unit))]
        if not spreading.is_even(search.snapshot, unit.pods_spread, there, open_):
            return False
    if not unit.spread or search.rows_of(unit):
        return True
    siblings = [*search.siblings.get(unit.family, ())]
    if there in siblings:
        siblings.remove(there)
    peers = _elsewhere(search, unit) + siblings
    return spreading.may_be(search.snapshot, unit.spread, peers, there, _allowed(search, unit))


def _elsewhere(search: Search, unit: parts.Unit) -> list[list[int]]:
    """Return the rows of each sibling that is no part of this gang."""
    return [[row for name in peer if (row := search.snapshot.row_of(name)) is not None] for peer in unit.peers]


def _allowed(search: Search, unit: parts.Unit) -> Ints:
    """Return the rows that may take the pods of a unit at all."""
    mask: Mask = np.ones(len(search.free), dtype=np.bool_)
    for part in unit.leaves():
        mask &= part.allowed
    return np.flatnonzero(mask)
