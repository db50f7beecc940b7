"""Placing a unit: its parts, then the units inside it, each in the best of its domains in which all of it fits.

Greedy first: where a later one fails, another order is tried, then the next domain. A `thorough` search then goes back
over the choices of earlier ones as well. Bounded by the search's tries. Cost: O(tries x levels x nodes of the domain).
"""

from collections.abc import Iterable, Iterator, Sequence

from grovekeeper.placement import candidates, pack, parts, spreading
from grovekeeper.placement.nodes import Ints
from grovekeeper.placement.search import Search, Spots

TRIES = 96
"""Of a thorough search: fillings, and domains looked at for units. More find hardly more (0.2 % at 256)."""
_SHARE = 4
"""A quarter of the tries that are left is for one domain of the gang, so that the next ones get some."""
_WORK = 400_000
"""Nodes times parts times tries of a thorough search: what does not fit is to cost no more in a large cluster."""
_END = object()
Item = parts.Part | parts.Unit


def settle(search: Search, unit: parts.Unit, rows: Ints) -> bool:
    """Place everything inside a unit whose rows are chosen; change nothing where that fails."""
    saved = search.saved()
    for _ in _ways(search, unit, rows):
        return True
    search.restore(saved)
    return False


def thorough(search: Search, unit: parts.Unit, options: Iterable[Ints]) -> bool:
    """Place a unit in one of these sets of rows, by a search that goes back where something in it fails."""
    leaves = [part for part in unit.leaves() if part.need]
    search.keys = set().union(*(part.bonds.keys for part in leaves))
    left = min(TRIES, _WORK * (2 if search.keys else 1) // max(1, len(search.among) * len(leaves)))
    if left < 2 * len(leaves) or len(leaves) < 2:
        return False
    search.thorough = True
    for rows in options:
        search.tries = share = max(left // _SHARE, min(left, TRIES // _SHARE))
        if settle(search, unit, rows):
            return True
        left -= share - search.tries
        if left <= 0:
            break
    return False


def _ways(search: Search, unit: parts.Unit, rows: Ints) -> Iterator[None]:
    """Yield with everything inside the unit placed, each time in another way; the last one is not taken back."""
    for _ in candidates.unions(search, unit, rows):
        for order in _orders([*unit.parts, *unit.units]):
            yield from _sequence(search, unit, order, rows)
            if search.tries <= 0:
                return


def _sequence(search: Search, unit: parts.Unit, items: Sequence[Item], rows: Ints) -> Iterator[None]:
    """Yield with all items placed, one after the other. Without recursion: a gang may have hundreds of units."""
    if not items:
        yield
        return
    stack = [_attempts(search, unit, items[0], rows)]
    while stack:
        if next(stack[-1], _END) is _END:
            stack.pop()
            if search.tries <= 0:
                return
        elif len(stack) == len(items):
            yield
        else:
            stack.append(_attempts(search, unit, items[len(stack)], rows))


def _attempts(search: Search, unit: parts.Unit, item: Item, rows: Ints) -> Iterator[None]:
    """Yield with a part or a unit placed; a greedy search does so once. Everything is taken back in the end."""
    if isinstance(item, parts.Part):
        return _filled(search, unit, item, rows)
    # What is all above the minimum binds nobody: it takes what is left.
    return _housed(search, item, rows) if any(part.need for part in item.leaves()) else iter((None,))


def _filled(search: Search, unit: parts.Unit, part: parts.Part, rows: Ints) -> Iterator[None]:
    saved = search.saved()
    seen: list[Spots | None] = []
    for among, most in _fillings(search, part, rows):
        fits = _place_part(search, unit, part, among, most)
        if fits and (spots := search.chosen.get(part.position)) not in seen:
            seen.append(spots)
            yield
        search.restore(saved)
        if search.tries <= 0 or not seen:
            return  # the other fillings are narrower


def _housed(search: Search, unit: parts.Unit, rows: Ints) -> Iterator[None]:
    saved = search.saved()
    for option in _options(search, unit, rows):
        for _ in _ways(search, unit, option):
            search.join(unit)
            yield
            if not search.thorough:
                search.restore(saved)
                return
        search.restore(saved)
        if search.tries <= 0:
            return


def _options(search: Search, unit: parts.Unit, rows: Ints) -> Iterator[Ints]:
    """Yield sets of rows for a unit, best first; in a thorough search each costs a try."""
    for among in candidates.spread(search, unit, rows) if unit.spread else (rows,):
        for found in candidates.candidates(search, unit, among):
            search.tries -= search.thorough
            yield found


def _fillings(search: Search, part: parts.Part, rows: Ints) -> Iterator[tuple[Ints, int | None]]:
    """Yield rows for a part, and how many pods a node may take at most: see `Search.fill`.

    Where pods look at each other a thorough search also leaves room beside them, and keeps clear of domains.
    """
    yield rows, None
    if search.thorough and search.keys and part.need:
        yield from ((rows, most) for most in (-1, 1) if part.need > 1)
        yield from ((found, None) for found in candidates.others(search, part, rows))


def _place_part(search: Search, unit: parts.Unit, part: parts.Part, rows: Ints, most: int | None) -> bool:
    if not part.need:
        return True
    if unit.pods_spread:
        found: Spots | None = _even(search, unit, part, rows, part.need)
    else:
        found = search.fill(part, rows, part.need, most=most)
    if found is None or sum(pods for _row, pods in found) < part.need:
        return False
    search.chosen[part.position] = found
    return True


def extras(search: Search, unit: parts.Unit, part: parts.Part, rows: Ints) -> Spots:
    """Choose nodes for as many pods above the minimum as fit."""
    wanted = len(part.pods) - part.need
    if wanted <= 0:
        return []
    if unit.pods_spread:
        found = _even(search, unit, part, rows, wanted)
    else:
        found = search.fill(part, rows, min(wanted, int(search.capacity(part, rows)[rows].sum()))) or []
    search.chosen[part.position] = search.chosen.get(part.position, []) + found
    return found


def _even(search: Search, unit: parts.Unit, part: parts.Part, rows: Ints, count: int) -> Spots:
    """Choose nodes for up to `count` pods that are spread over domains, and charge them."""
    search.tries -= 1
    mine = [each.position for each in unit.parts]
    there = [row for position in mine for row, pods in search.chosen.get(position, ()) for _ in range(pods)]
    capacity = search.capacity(part, rows)
    result: Spots = []
    counted = candidates.counted(search, unit, part, rows)
    shares = spreading.shares(search.snapshot, unit.pods_spread, there + search.rows_of(unit), counted, capacity, count)
    for cell, share in shares:
        found = (
            pack.fill(
                capacity, cell, share, search.ids, used=search.taken(), whole=search.whole, nodes_from=search.nodes_from
            )
            or []
        )
        search.charge(part, found)
        result += found
    return result


def _orders(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield what is inside a unit in the usual order, then with each later one first: a cheap way out of dead ends."""
    yield items
    for position in range(1, min(len(items), 6)):
        yield [items[position], *items[:position], *items[position + 1 :]]
