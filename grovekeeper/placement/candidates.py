"""Where a unit could go, best first: sets of rows of domains that could hold it by count."""

from collections.abc import Iterator, Sequence

import numpy as np

from grovekeeper.placement import bonds, pack, parts, request, spreading
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
            yield from _inside(search, unit, rows[ids[rows] == domain], key)


def _inside(search: Search, unit: parts.Unit, rows: Ints, key: str) -> Iterator[Ints]:
    """Yield the rows of a domain; where it cuts across domains of the required level, those of each by themselves."""
    required = unit.constraint.required
    if required in (None, key):
        yield rows
        return
    ids = search.snapshot.domains(required)[0]
    forced = {int(ids[row]) for row in search.rows_of(unit)}
    found = [number for number in np.unique(ids[rows]).tolist() if number >= 0 and forced <= {number}]
    yield from (rows[ids[rows] == number] for number in found)


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

    Best: near the base gang, room for those that follow (of the gang itself), fewest domains of the next level (but for
    nodes: see below), not whole, least room to spare, name.
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
    others = search.company
    alone = others.misses(ids, found) if others is not None and others.unit is unit else dict.fromkeys(found, 0)
    if position + 1 in search.wide:
        return sorted(found, key=lambda d: (d not in near, alone[d], needed[d], bool(untouched[d]), int(spare[d]), d))
    # What comes next is nodes: a whole domain that stays whole is worth more than a node.
    return sorted(found, key=lambda d: (d not in near, alone[d], bool(untouched[d]), needed[d], int(spare[d]), d))


def spread(search: Search, unit: parts.Unit, rows: Ints) -> Iterator[Ints]:
    """Yield the rows among which the unit may be placed with regard to its siblings, best first."""
    if not unit.spread:
        yield rows
        return
    if there := search.rows_of(unit):
        # What has a place already stays there: the rest of it goes where it is.
        yield rows[np.all([_beside(search, rule, there, rows) for rule in unit.spread], axis=0)]
        return

    def ranked(ids: Ints, among: Ints) -> list[int]:
        return fitting(search, unit, ids, among)

    peers = _elsewhere(search, unit) + search.siblings.get(unit.family, [])
    yield from spreading.options(search.snapshot, unit.spread, peers, rows, _eligible(search, unit, rows), ranked)


def _beside(search: Search, rule: request.Spread, there: Sequence[int], rows: Ints) -> Mask:
    """Return which rows are in a domain of a required rule in which the unit is already."""
    ids = search.snapshot.domains(rule.level)[0]
    mask: Mask = np.isin(ids[rows], [number for number in ids[list(there)] if number >= 0])
    return mask if rule.required else np.ones(len(rows), dtype=np.bool_)


def is_spread(search: Search, unit: parts.Unit, rows: Ints) -> bool:
    """Return whether a unit all of whose pods are chosen keeps the required rules for its spread.

    It is among its siblings already. `rows` are those of the domains that bind what it is part of.
    """
    new = search.rows_chosen(part.position for part in unit.leaves())
    before = search.rows_of(unit)
    for part in unit.parts if unit.pods_spread else ():
        mine = search.rows_chosen([part.position])
        if not spreading.is_even(
            search.snapshot, unit.pods_spread, new + before, mine, counted(search, unit, part, rows)
        ):
            return False
    if not unit.spread or not new:
        return True
    if before:
        return all(_beside(search, rule, before, np.array(new)).all() for rule in unit.spread)
    siblings = [*search.siblings.get(unit.family, ())]
    if new in siblings:
        siblings.remove(new)
    peers = _elsewhere(search, unit) + siblings
    return spreading.may_be(search.snapshot, unit.spread, peers, new, _eligible(search, unit, rows))


def counted(search: Search, unit: parts.Unit, part: parts.Part, rows: Ints) -> Ints:
    """Return the rows over whose domains the skew of a clique's pods is counted: those that may take them at all,
    within the domains that bind the clique. `rows` is some rows there.
    """
    inside = _bound(search, (*unit.within, *unit.binding()), rows)
    return inside[part.eligible[inside]]


def _eligible(search: Search, unit: parts.Unit, rows: Ints) -> list[Ints]:
    """Return for each part of a unit the rows over whose domains the skew of its siblings is counted.

    Pods above the minimum have no say, but where there are no others.
    """
    inside = _bound(search, unit.within, rows)
    leaves = list(unit.leaves())
    return [inside[part.eligible[inside]] for part in [each for each in leaves if each.need] or leaves]


def _bound(search: Search, keys: Sequence[str], rows: Ints) -> Ints:
    """Return all rows that are in the same domains of these levels as the rows given."""
    found = search.snapshot.rows()
    for key in keys:
        ids = search.snapshot.domains(key)[0]
        found = found[pack.among(ids[found], ids[rows])]
    return found


def _elsewhere(search: Search, unit: parts.Unit) -> list[list[int]]:
    """Return the rows of each sibling that is no part of this gang."""
    return [[row for name in peer if (row := search.snapshot.row_of(name)) is not None] for peer in unit.peers]
